//! Small bodies, read whole with a limit: logins and management calls, never blobs.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;

/// How much of a body that is too large is still read and thrown away, so that its sender gets to see the answer
/// instead of a broken connection.
pub const DISCARDED_BYTES: usize = 8 * 1024 * 1024;

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WholeBodyError {
    /// It has more bytes than the limit.
    TooLarge,
    /// The client stopped sending.
    Broken,
}

/// Reads a body of at most `limit_bytes`.
///
/// # Errors
/// When it is larger, or does not end.
pub async fn read_whole(mut body: Body, limit_bytes: usize) -> Result<Bytes, WholeBodyError> {
    let mut whole = BytesMut::new();
    let mut discarded = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| WholeBodyError::Broken)?;
        let Ok(data) = frame.into_data() else { continue };
        if discarded == 0 && whole.len() + data.len() <= limit_bytes {
            whole.extend_from_slice(&data);
        } else {
            whole = BytesMut::new();
            discarded += data.len();
            if discarded > DISCARDED_BYTES {
                return Err(WholeBodyError::TooLarge);
            }
        }
    }
    if discarded == 0 { Ok(whole.freeze()) } else { Err(WholeBodyError::TooLarge) }
}

#[cfg(test)]
mod tests {
    use super::{WholeBodyError, read_whole};
    use axum::body::Body;

    #[tokio::test]
    async fn the_limit_is_exact() {
        for (bytes, fine) in [(0, true), (9, true), (10, true), (11, false), (1000, false)] {
            let pieces = vec![7_u8; bytes].chunks(4).map(|c| Ok::<_, std::io::Error>(c.to_vec())).collect::<Vec<_>>();
            let read = read_whole(Body::from_stream(futures::stream::iter(pieces)), 10).await;
            assert_eq!(read.map(|read| read.len()), if fine { Ok(bytes) } else { Err(WholeBodyError::TooLarge) });
        }
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_told_from_a_large_one() {
        let pieces = [Ok("abc"), Err(std::io::Error::other("gone"))];
        let read = read_whole(Body::from_stream(futures::stream::iter(pieces)), 10).await;
        assert_eq!(read, Err(WholeBodyError::Broken));
    }
}
