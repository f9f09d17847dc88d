//! A manifest that is accepted says the same to every reader: its view holds what plain JSON says, and nothing around
//! the bytes or cut from them would have been accepted too.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use serde_json::Value;
use transship_oci::manifest::{MAX_DATA_BYTES, MAX_DESCRIPTORS};
use transship_oci::{MAX_MANIFEST_BYTES, ManifestKind, ManifestView, media};

const CONTENT_TYPES: [Option<&str>; 6] = [
    None,
    Some(media::OCI_MANIFEST),
    Some(media::OCI_INDEX),
    Some(media::DOCKER_MANIFEST),
    Some("application/vnd.docker.distribution.manifest.list.v2+json; charset=utf-8"),
    Some("text/plain"),
];

// The first byte chooses the Content-Type, the rest is the manifest.
fuzz_target!(|data: &[u8]| -> Corpus {
    let Some((choice, raw)) = data.split_first() else { return Corpus::Reject };
    let content_type = CONTENT_TYPES[usize::from(*choice) % CONTENT_TYPES.len()];
    match ManifestView::parse(content_type, raw) {
        Ok(view) => check(content_type, raw, &view),
        Err(error) => {
            assert!(matches!(error.status(), 400 | 413), "{error}");
            assert!(!error.to_string().contains(char::is_control), "{error:?}");
        }
    }
    Corpus::Keep
});

fn check(content_type: Option<&str>, raw: &[u8], view: &ManifestView) {
    assert!(raw.len() <= MAX_MANIFEST_BYTES);
    let json: Value = serde_json::from_slice(raw).expect("what is accepted is JSON");
    assert_eq!(json["schemaVersion"], 2);
    assert!(json["mediaType"].is_null() || json["mediaType"] == *view.media_type);
    assert_eq!(ManifestKind::of_media_type(&view.media_type), Some(view.kind));
    let essence = content_type.and_then(|text| text.split(';').next());
    assert!(essence.is_none_or(|text| text == view.media_type));

    // Every descriptor, and none that the JSON does not have.
    let list = |name: &str| json[name].as_array().map_or(&[][..], Vec::as_slice);
    let (config, blobs) = match view.kind {
        ManifestKind::Image => (Some(&json["config"]), list("layers")),
        ManifestKind::Index => (None, list("manifests")),
    };
    let subject = Some(&json["subject"]).filter(|subject| !subject.is_null());
    let in_json: Vec<&Value> = config.into_iter().chain(blobs).chain(subject).collect();
    let in_view: Vec<_> = view.config.iter().chain(&view.layers).chain(&view.children).chain(&view.subject).collect();
    assert_eq!(in_json.len(), in_view.len());
    assert!(in_view.len() <= MAX_DESCRIPTORS);
    for descriptor in &in_view {
        let same = |json: &&&Value| {
            json["digest"] == descriptor.digest.as_str()
                && json["size"] == descriptor.size_bytes
                && json["mediaType"] == *descriptor.media_type
        };
        assert!(in_json.iter().any(|json| same(&json)), "{descriptor:?}");
        assert!(i64::try_from(descriptor.size_bytes).is_ok());
        assert!(descriptor.data.as_ref().is_none_or(|data| data.len() <= MAX_DATA_BYTES * 4 / 3 + 4));
    }
    for absent in view.foreign_layers() {
        assert!(media::is_non_distributable(&absent.media_type) && !absent.urls.is_empty());
    }

    // The media type it was understood as gives the same view; other bytes give none.
    assert_eq!(ManifestView::parse(Some(&view.media_type), raw).as_ref(), Ok(view));
    let refused = |bytes: &[u8]| assert!(ManifestView::parse(content_type, bytes).is_err());
    refused(&[raw, b"{}"].concat());
    refused(&[b"\xef\xbb\xbf", raw].concat());
    refused(&raw[..raw.trim_ascii_end().len() - 1]);
}
