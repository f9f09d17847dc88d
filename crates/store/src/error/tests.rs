use std::io;

use super::{Blame, StoreError, StoreErrorKind};
use crate::Location;

#[test]
fn full_disks_and_quotas_are_told_apart() {
    for (code, kind) in [
        (28, StoreErrorKind::NoSpace),
        #[cfg(target_os = "linux")]
        (122, StoreErrorKind::NoSpace),
        (5, StoreErrorKind::Io),
        (30, StoreErrorKind::Io),
    ] {
        let error = StoreError::from_io("writing /blobs/00/ab", io::Error::from_raw_os_error(code));
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(error.is_no_space(), kind == StoreErrorKind::NoSpace);
        assert!(error.to_string().starts_with("writing /blobs/00/ab: "), "{error}");
    }
}

#[test]
fn poisoned_writers_keep_the_first_kind() {
    let location = Location::fresh();
    let reason = "no space left".to_owned();
    let error = StoreError::Poisoned { location, kind: StoreErrorKind::NoSpace, reason };
    assert!(error.is_no_space());
    assert!(error.to_string().ends_with("an earlier write failed: no space left"), "{error}");
}

#[test]
fn bad_ranges_name_all_numbers() {
    let location = Location::from("00/ab".to_owned());
    let error = StoreError::BadRange { location, range: 3..9, size_bytes: 7 };
    assert_eq!(error.to_string(), "bytes 3..9 of 00/ab, which has 7");
}

#[test]
fn what_the_process_lacks_says_nothing_about_the_bytes() {
    let of = |error: io::Error| StoreError::from_io("reading /blobs/00/ab", error).blames();
    // EMFILE, ENFILE, ENOMEM, EACCES, EPERM, EINTR, ESTALE, EROFS, ENOTCONN, ETIMEDOUT, ENOSPC
    for code in [24, 23, 12, 13, 1, 4, 116, 30, 107, 110, 28] {
        assert_eq!(of(io::Error::from_raw_os_error(code)), Blame::Nobody, "{code}");
    }
    assert_eq!(of(io::Error::other("a planned failure")), Blame::Nobody);
    // EIO, EBADMSG, EILSEQ, EUCLEAN, ENODATA
    for code in [5, 74, 84, 117, 61] {
        assert_eq!(of(io::Error::from_raw_os_error(code)), Blame::Medium, "{code}");
    }
    assert_eq!(of(io::ErrorKind::UnexpectedEof.into()), Blame::Bytes, "a file that is shorter than it was");
    let location = Location::fresh();
    assert_eq!(StoreError::NotFound { location: location.clone() }.blames(), Blame::Bytes);
    assert_eq!(StoreError::BadRange { location, range: 3..9, size_bytes: 7 }.blames(), Blame::Bytes);
}
