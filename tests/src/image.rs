//! Images made of random bytes, held in memory: small, and as many as a test wants. Images that real clients push come
//! from `tools/make-images.py` instead.

use serde_json::{Value, json};
use sha2::Digest as _;

use crate::random::Random;
use crate::signature::sha256_hex;

/// Media type of an image manifest.
pub const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an image index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A manifest with everything below it.
#[derive(Clone, Debug)]
pub struct Image {
    /// Media type of the manifest.
    pub media_type: &'static str,
    /// The manifest's bytes.
    pub raw: Vec<u8>,
    /// Config and layers, each once.
    pub blobs: Vec<Vec<u8>>,
    /// Images that an index names.
    pub children: Vec<Image>,
}

/// `sha256:<hex>` of the bytes.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", sha256_hex(bytes))
}

/// `sha512:<hex>` of the bytes.
pub fn sha512_digest(bytes: &[u8]) -> String {
    format!("sha512:{}", hex::encode(sha2::Sha512::digest(bytes)))
}

impl Image {
    /// An image of these layers.
    pub fn of(layers: Vec<Vec<u8>>) -> Self {
        let diff_ids: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
        let config = json!({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let config = config.to_string().into_bytes();
        let layer_descriptors: Vec<Value> = layers.iter().map(|layer| descriptor(layer, LAYER)).collect();
        let manifest = json!({"schemaVersion": 2, "mediaType": IMAGE, "config": descriptor(&config, CONFIG), "layers": layer_descriptors});
        let mut blobs = vec![config];
        blobs.extend(layers);
        Self { media_type: IMAGE, raw: manifest.to_string().into_bytes(), blobs, children: Vec::new() }
    }

    /// An image of `layers` random layers of `layer_bytes` each.
    pub fn random(random: &mut Random, layers: usize, layer_bytes: usize) -> Self {
        Self::of((0..layers).map(|_| random.bytes(layer_bytes)).collect())
    }

    /// An index of these images.
    pub fn index(children: Vec<Image>) -> Self {
        let manifests: Vec<Value> = children
            .iter()
            .enumerate()
            .map(|(number, child)| {
                let mut entry = descriptor(&child.raw, child.media_type);
                entry["platform"] = json!({"architecture": format!("arch{number}"), "os": "linux"});
                entry
            })
            .collect();
        let raw = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).to_string().into_bytes();
        Self { media_type: INDEX, raw, blobs: Vec::new(), children }
    }

    /// A signature of `subject`, as cosign and notation attach them: a manifest whose subject is the image.
    pub fn signature_of(subject: &Image, payload: &[u8]) -> Self {
        let empty = b"{}".to_vec();
        let kind = "application/vnd.example.signature";
        let manifest = json!({
            "schemaVersion": 2, "mediaType": IMAGE, "artifactType": kind,
            "config": descriptor(&empty, "application/vnd.oci.empty.v1+json"),
            "layers": [descriptor(payload, kind)],
            "subject": descriptor(&subject.raw, subject.media_type),
        });
        let blobs = vec![empty, payload.to_vec()];
        Self { media_type: IMAGE, raw: manifest.to_string().into_bytes(), blobs, children: Vec::new() }
    }

    /// The manifest's digest.
    pub fn digest(&self) -> String {
        digest(&self.raw)
    }

    /// Bytes of all blobs and manifests together.
    pub fn size_bytes(&self) -> usize {
        let own: usize = self.raw.len() + self.blobs.iter().map(Vec::len).sum::<usize>();
        own + self.children.iter().map(Image::size_bytes).sum::<usize>()
    }
}

fn descriptor(bytes: &[u8], media_type: &str) -> Value {
    json!({"mediaType": media_type, "digest": digest(bytes), "size": bytes.len()})
}
