//! An image of one unique layer, and how a client pushes and pulls it.

use std::io;

use sha2::{Digest as _, Sha256};

use crate::expect;
use crate::http::Connection;
use crate::random::Random;

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// One image.
pub(crate) struct Image {
    tag: String,
    config: Vec<u8>,
    config_digest: String,
    layer: Vec<u8>,
    layer_digest: String,
    manifest: Vec<u8>,
}

impl Image {
    /// The image of this seed and number.
    pub(crate) fn new(seed: u64, number: u64, layer_bytes: usize) -> Self {
        let layer = Random::new(seed << 32 | number).bytes(layer_bytes);
        let layer_digest = digest(&layer);
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{layer_digest}"]}}}}"#
        );
        let config = config.into_bytes();
        let config_digest = digest(&config);
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": config_digest,
                "size": config.len(),
            },
            "layers": [{
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": layer_digest,
                "size": layer.len(),
            }],
        });
        let manifest = manifest.to_string().into_bytes();
        Self { tag: format!("t{seed}-{number}"), config, config_digest, layer, layer_digest, manifest }
    }

    /// Frees the layer's memory; the image can still be pulled.
    pub(crate) fn forget_layer(&mut self) {
        self.layer = Vec::new();
    }

    /// POST and PUT for each blob, then the manifest.
    pub(crate) fn push(&self, connection: &mut Connection, repository: &str) -> io::Result<()> {
        for (bytes, digest) in [(&self.layer, &self.layer_digest), (&self.config, &self.config_digest)] {
            let start = connection.call("POST", &format!("/v2/{repository}/blobs/uploads/"), "", Some(b""))?;
            expect(&start, 202, "POST uploads")?;
            let location = start.location.ok_or_else(|| io::Error::other("a session without Location"))?;
            let mark = if location.contains('?') { '&' } else { '?' };
            let target = format!("{location}{mark}digest={digest}");
            let put = connection.call("PUT", &target, "Content-Type: application/octet-stream\r\n", Some(bytes))?;
            expect(&put, 201, "PUT blob")?;
        }
        let path = format!("/v2/{repository}/manifests/{}", self.tag);
        let kind = format!("Content-Type: {MANIFEST_TYPE}\r\n");
        expect(&connection.call("PUT", &path, &kind, Some(&self.manifest))?, 201, "PUT manifest")
    }

    /// The manifest by tag, then both blobs.
    pub(crate) fn pull(&self, connection: &mut Connection, repository: &str) -> io::Result<()> {
        let path = format!("/v2/{repository}/manifests/{}", self.tag);
        let accept = format!("Accept: {MANIFEST_TYPE}\r\n");
        expect(&connection.call("GET", &path, &accept, None)?, 200, "GET manifest")?;
        for digest in [&self.config_digest, &self.layer_digest] {
            expect(&connection.call("GET", &format!("/v2/{repository}/blobs/{digest}"), "", None)?, 200, "GET blob")?;
        }
        Ok(())
    }
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}
