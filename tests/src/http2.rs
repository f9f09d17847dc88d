//! HTTP/2 over TLS by hand, frame by frame: what no client library would send, and answers that nobody reads.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::region::Region;

/// A piece of a body.
pub const DATA: u8 = 0;
/// A request's or an answer's head.
pub const HEADERS: u8 = 1;
/// The early end of one stream.
pub const RST_STREAM: u8 = 3;
/// The settings that one side asks of the other.
pub const SETTINGS: u8 = 4;
/// A probe, or its answer.
pub const PING: u8 = 6;
/// The end of the connection, with a reason.
pub const GOAWAY: u8 = 7;
/// Permission to send more.
pub const WINDOW_UPDATE: u8 = 8;
/// Flag of `SETTINGS` and `PING`: this is the answer.
pub const ACK: u8 = 1;
/// Flag of `HEADERS`: no body follows.
pub const END_STREAM: u8 = 1;
/// Flag of `HEADERS`: the head is complete.
pub const END_HEADERS: u8 = 4;
/// The setting for how many bytes of an answer may be in flight.
pub const INITIAL_WINDOW_SIZE: u16 = 4;
/// The largest possible window.
pub const LARGEST_WINDOW: u32 = (1 << 31) - 1;
/// The initial window of a connection.
pub const FIRST_WINDOW: u32 = 65_535;
/// Keeps the kernel from taking megabytes that the client does not read.
const RECEIVE_BYTES: u32 = 16 * 1024;

/// A frame that came.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream; 0 is the connection.
    pub stream: u32,
    /// The rest.
    pub payload: Vec<u8>,
}

/// One frame as it goes over the wire.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a test's frame is small").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// One setting as the payload of `SETTINGS`.
pub fn setting(id: u16, value: u32) -> Vec<u8> {
    [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()
}

/// Allows the other side to send as much as possible on the whole connection.
pub fn widest_window() -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, 0, &(LARGEST_WINDOW - FIRST_WINDOW).to_be_bytes())
}

/// A whole `GET` with a Bearer token.
pub fn get(stream: u32, host: &str, path: &str, token: &str) -> Vec<u8> {
    // Uses the static table of HPACK: whole fields for the method and the scheme, and only the names of the rest.
    // Nothing is added to a table.
    let mut head = vec![0x82, 0x87];
    let authorization = format!("Bearer {token}");
    for (name, value) in [(&[0x01][..], host), (&[0x04], path), (&[0x0f, 23 - 15], &authorization)] {
        head.extend_from_slice(name);
        put_text(&mut head, value);
    }
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &head)
}

/// The head of a `POST` whose body follows. Names are in lower case, as HTTP/2 has them.
pub fn post(stream: u32, host: &str, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut head = vec![0x83, 0x87];
    for (name, value) in [(&[0x01][..], host), (&[0x04], path)] {
        head.extend_from_slice(name);
        put_text(&mut head, value);
    }
    for (name, value) in headers {
        head.push(0);
        put_text(&mut head, name);
        put_text(&mut head, value);
    }
    frame(HEADERS, END_HEADERS, stream, &head)
}

/// Appends a text without Huffman coding: its length, then the text.
fn put_text(head: &mut Vec<u8>, text: &str) {
    let mut rest = text.len();
    if rest < 127 {
        head.push(u8::try_from(rest).expect("below 127"));
    } else {
        head.push(127);
        rest -= 127;
        while rest >= 128 {
            head.push(u8::try_from(rest % 128).expect("below 128") | 128);
            rest /= 128;
        }
        head.push(u8::try_from(rest).expect("below 128"));
    }
    head.extend_from_slice(text.as_bytes());
}

/// Connects, sends the preface and the settings, and returns the two halves of the connection.
pub async fn connect(region: &Region, settings: &[u8]) -> (Reader, Writer) {
    let (url, authority) = region.tls();
    let address = url.strip_prefix("https://").expect("TLS has this scheme").parse().expect("an address");
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(authority).expect("openssl wrote PEM");
    roots.add(authority).expect("an authority can be trusted");
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider knows TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let socket = TcpSocket::new_v4().expect("a socket can be had");
    socket.set_recv_buffer_size(RECEIVE_BYTES).expect("a socket takes the option");
    let tcp = socket.connect(address).await.unwrap_or_else(|error| panic!("no connection to {url}: {error}"));
    tcp.set_nodelay(true).expect("a socket takes the option");
    let name = ServerName::try_from("127.0.0.1").expect("an address is a name");
    let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.expect("a handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]), "HTTP/2 is spoken");
    let (reader, writer) = tokio::io::split(stream);
    let mut writer = Writer(writer);
    writer.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("the preface is taken");
    writer.send(&frame(SETTINGS, 0, 0, settings)).await.expect("the settings are taken");
    (Reader(reader), writer)
}

/// What comes from the server.
#[derive(Debug)]
pub struct Reader(ReadHalf<TlsStream<TcpStream>>);

/// What goes to the server.
#[derive(Debug)]
pub struct Writer(WriteHalf<TlsStream<TcpStream>>);

impl Reader {
    /// The next frame; `None` if the connection has ended.
    pub async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).expect("24 bits fit")];
        self.0.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }
}

impl Writer {
    /// Sends bytes.
    ///
    /// # Errors
    /// When the server has closed the connection.
    pub async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_all(bytes).await?;
        self.0.flush().await
    }
}
