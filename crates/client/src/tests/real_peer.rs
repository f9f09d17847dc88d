//! One round with Debian's `docker-registry` (distribution 2.8), through a proxy that cuts connections.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use transship_oci::{Digest, RepositoryName, media};

use super::support::{Memory, content, name, settings, sha256};
use crate::{Mount, PutCondition, RegistryClient};

const BINARY: &str = "/usr/bin/docker-registry";
const LEN: usize = 5_000_000;

async fn start(dir: &std::path::Path) -> (Child, u16) {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let config = dir.join("config.yml");
    let root = dir.join("data");
    let text = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: 127.0.0.1:{port}}}\n",
        root.display()
    );
    std::fs::write(&config, text).unwrap();
    let child = Command::new(BINARY)
        .arg("serve")
        .arg(&config)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    for _ in 0..100 {
        if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return (child, port);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("docker-registry did not start");
}

/// Passes bytes on until one connection has sent `limit` of them to the registry; that one is cut, once.
async fn proxy(port: u16, limit: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let left = Arc::new(AtomicUsize::new(1));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let left = Arc::clone(&left);
            tokio::spawn(async move {
                let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                let back = tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
                let (mut buffer, mut passed) = (vec![0; 64 * 1024], 0);
                while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
                    passed += count;
                    let cut = passed > limit && left.swap(0, Ordering::SeqCst) == 1;
                    if cut || to_server.write_all(&buffer[..count]).await.is_err() {
                        break;
                    }
                }
                back.abort();
            });
        }
    });
    base
}

#[tokio::test]
async fn docker_registry_takes_everything() {
    if !std::path::Path::new(BINARY).exists() {
        println!("skipped: {BINARY} is not here");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (_child, port) = start(dir.path()).await;
    let base = proxy(port, LEN / 2).await;
    let client =
        RegistryClient::new(&crate::ClientSettings { idle_timeout: Duration::from_secs(10), ..settings(&base) })
            .unwrap();

    let bytes = content(LEN);
    let digest = sha256(&bytes);
    assert_eq!(client.head_blob(&name(), &digest).await.unwrap(), None);
    let sent = client.push_blob(&name(), &digest, LEN as u64, &Memory(bytes.clone()), &|_| ()).await.unwrap();
    println!("{sent} bytes sent for {LEN}");
    assert!(sent > LEN as u64, "the cut took place");
    assert_eq!(client.head_blob(&name(), &digest).await.unwrap(), Some(LEN as u64));
    let read: Vec<Bytes> =
        client.get_blob(&name(), &digest, Some(1000..2000)).await.unwrap().try_collect().await.unwrap();
    assert_eq!(read.concat(), bytes[1000..2000]);

    let other: RepositoryName = "team/other".parse().unwrap();
    assert!(matches!(client.mount_or_start(&other, &digest, &name()).await.unwrap(), Mount::Mounted));

    check_manifests(&client, &digest).await;
}

async fn check_manifests(client: &RegistryClient, layer: &Digest) {
    let config = Bytes::from_static(b"{}");
    let config_digest = sha256(&config);
    client.push_blob(&name(), &config_digest, 2, &Memory(config), &|_| ()).await.unwrap();
    let raw = Bytes::from(format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"{}","digest":"{config_digest}","size":2}},"layers":[{{"mediaType":"{}","digest":"{layer}","size":{LEN}}}]}}"#,
        media::OCI_MANIFEST,
        media::OCI_CONFIG,
        media::OCI_LAYER_GZIP
    ));
    let tag = "v1".parse().unwrap();
    let name = name();
    assert!(client.head_manifest(&name, &tag).await.unwrap().is_none());
    let put = client.put_manifest(&name, &tag, media::OCI_MANIFEST, raw.clone(), PutCondition::Always).await.unwrap();
    assert_eq!(client.head_manifest(&name, &tag).await.unwrap(), Some(put.clone()));
    let found = client.get_manifest(&name, &put.clone().into()).await.unwrap().unwrap();
    assert_eq!(found, (put.clone(), media::OCI_MANIFEST.to_owned(), raw));
    assert_eq!(client.list_tags(&name).await.unwrap(), ["v1".parse().unwrap()]);
    // It has no referrers API, and the referrers tag does not exist.
    assert!(client.referrers(&name, &put).await.unwrap().is_empty());
}
