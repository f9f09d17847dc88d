use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, proptest};
use serde_json::{Value, json};

use super::{Descriptor, MAX_DESCRIPTORS, MAX_MANIFEST_BYTES, ManifestError, ManifestKind, ManifestView};
use crate::digest::{Digest, DigestAlgorithm};
use crate::media;
use crate::testing::{digest, nearly};

fn digest_of(content: &str) -> Digest {
    Digest::of(DigestAlgorithm::Sha256, content.as_bytes())
}

fn descriptor(media_type: &str, content: &str) -> Value {
    json!({"mediaType": media_type, "digest": digest_of(content), "size": content.len()})
}

fn image() -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": media::OCI_MANIFEST,
        "config": descriptor(media::OCI_CONFIG, "{\"os\":\"linux\"}"),
        "layers": [descriptor(media::OCI_LAYER_GZIP, "layer 1"), descriptor(media::OCI_LAYER_GZIP, "layer 2")],
    })
}

fn index() -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": media::OCI_INDEX,
        "manifests": [descriptor(media::OCI_MANIFEST, "amd64"), descriptor(media::OCI_MANIFEST, "arm64")],
    })
}

/// The value with one field changed; the path is that of a JSON pointer, and null removes.
fn with(mut value: Value, pointer: &str, field: &str, new: Value) -> Value {
    let object = value.pointer_mut(pointer).unwrap().as_object_mut().unwrap();
    object.insert(field.to_owned(), new);
    value
}

fn parse(value: &Value) -> Result<ManifestView, ManifestError> {
    ManifestView::parse(None, value.to_string().as_bytes())
}

fn problem(value: &Value) -> String {
    parse(value).unwrap_err().to_string()
}

fn digests<'a>(descriptors: impl IntoIterator<Item = &'a Descriptor>) -> Vec<Digest> {
    descriptors.into_iter().map(|descriptor| descriptor.digest.clone()).collect()
}

#[test]
fn an_image_names_its_config_and_layers() {
    let view = parse(&image()).unwrap();
    assert_eq!(view.kind, ManifestKind::Image);
    assert_eq!(view.media_type, media::OCI_MANIFEST);
    assert_eq!(view.artifact_type.as_deref(), Some(media::OCI_CONFIG));
    assert_eq!(digests(view.blobs()), [digest_of("{\"os\":\"linux\"}"), digest_of("layer 1"), digest_of("layer 2")]);
    assert_eq!(view.blobs_size_bytes(), 14 + 7 + 7);
    assert!(view.children.is_empty() && view.subject.is_none());
}

#[test]
fn an_index_names_its_children() {
    let view = parse(&index()).unwrap();
    assert_eq!(view.kind, ManifestKind::Index);
    assert_eq!(view.artifact_type, None);
    assert_eq!(digests(&view.children), [digest_of("amd64"), digest_of("arm64")]);
    assert_eq!(view.blobs().count(), 0);
}

#[test]
fn docker_types_are_of_the_same_two_kinds() {
    let manifest = with(image(), "", "mediaType", json!(media::DOCKER_MANIFEST));
    assert_eq!(parse(&manifest).unwrap().kind, ManifestKind::Image);
    let list = with(index(), "", "mediaType", json!(media::DOCKER_MANIFEST_LIST));
    assert_eq!(parse(&list).unwrap().kind, ManifestKind::Index);
}

#[test]
fn what_is_unusual_but_allowed() {
    let empty = json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": []});
    assert!(parse(&empty).unwrap().children.is_empty());
    let nested = with(index(), "/manifests/0", "mediaType", json!(media::OCI_INDEX));
    assert_eq!(parse(&nested).unwrap().children.len(), 2);
    let no_layers = with(image(), "", "layers", json!([]));
    assert_eq!(parse(&no_layers).unwrap().blobs().count(), 1);
    let null_layers = with(with(image(), "", "layers", Value::Null), "", "annotations", Value::Null);
    assert_eq!(parse(&null_layers).unwrap().blobs().count(), 1);
    let unknown = with(
        with(image(), "", "x", json!({"y": [1.5e300, null, true]})),
        "/layers/0",
        "mediaType",
        json!("application/x"),
    );
    assert_eq!(parse(&unknown).unwrap().layers.len(), 2);
    let sha512 = with(image(), "/layers/0", "digest", json!(Digest::of(DigestAlgorithm::Sha512, b"layer 1")));
    assert!(parse(&sha512).is_ok());
}

#[test]
fn an_artifact_reports_its_type() {
    let artifact = with(image(), "", "artifactType", json!("application/vnd.example.sbom"));
    assert_eq!(parse(&artifact).unwrap().artifact_type.as_deref(), Some("application/vnd.example.sbom"));
    let unnamed = with(image(), "", "artifactType", json!(""));
    assert_eq!(parse(&unnamed).unwrap().artifact_type.as_deref(), Some(media::OCI_CONFIG));
    let index = with(index(), "", "artifactType", json!("application/vnd.example.list"));
    assert_eq!(parse(&index).unwrap().artifact_type.as_deref(), Some("application/vnd.example.list"));
}

#[test]
fn subject_and_annotations_are_read() {
    let value = with(image(), "", "subject", descriptor(media::OCI_MANIFEST, "subject"));
    let value = with(value, "", "annotations", json!({"a": "<script>\r\n"}));
    let view = parse(&value).unwrap();
    assert_eq!(view.subject.unwrap().digest, digest_of("subject"));
    assert_eq!(view.annotations["a"], "<script>\r\n");
    assert!(problem(&with(image(), "", "annotations", json!({"a": 1}))).contains("invalid type"));
}

#[test]
fn only_foreign_layers_with_urls_need_not_exist() {
    let foreign = |media_type: &str, urls: Value| {
        let value = with(image(), "/layers/0", "mediaType", json!(media_type));
        parse(&with(value, "/layers/0", "urls", urls)).unwrap()
    };
    let gzip = format!("{}+gzip", media::OCI_NON_DISTRIBUTABLE_LAYER);
    for media_type in [&gzip, media::OCI_NON_DISTRIBUTABLE_LAYER, media::DOCKER_FOREIGN_LAYER] {
        let view = foreign(media_type, json!(["https://example.com/layer"]));
        assert_eq!(digests(view.blobs()), [digest_of("{\"os\":\"linux\"}"), digest_of("layer 2")]);
        assert_eq!(digests(view.foreign_layers()), [digest_of("layer 1")]);
        assert_eq!(foreign(media_type, Value::Null).blobs().count(), 3);
    }
    assert_eq!(foreign(media::OCI_LAYER_GZIP, json!(["javascript:alert(1)"])).blobs().count(), 3);
}

#[test]
fn entries_of_an_index_that_are_no_manifests_are_blobs() {
    let cache = with(index(), "/manifests/1", "mediaType", json!(media::OCI_LAYER_GZIP));
    let view = parse(&cache).unwrap();
    assert_eq!(digests(&view.children), [digest_of("amd64")]);
    assert_eq!(digests(view.blobs()), [digest_of("arm64")]);
}

#[test]
fn header_and_body_agree_on_the_media_type() {
    let silent = with(image(), "", "mediaType", Value::Null).to_string();
    let parse = |content_type: Option<&str>, raw: &str| ManifestView::parse(content_type, raw.as_bytes());
    let with_parameter = format!("{} ; charset=utf-8", media::OCI_MANIFEST);
    assert_eq!(parse(Some(&with_parameter), &image().to_string()).unwrap().media_type, media::OCI_MANIFEST);
    assert_eq!(parse(Some(media::DOCKER_MANIFEST), &silent).unwrap().media_type, media::DOCKER_MANIFEST);
    assert_eq!(parse(Some(""), &image().to_string()).unwrap().media_type, media::OCI_MANIFEST);
    for (content_type, raw) in [
        (None, &silent),
        (Some(media::OCI_INDEX), &image().to_string()),
        (Some(media::OCI_INDEX), &silent),
        (Some("text/plain"), &silent),
        (Some("text/html"), &image().to_string()),
        (Some(media::OCI_CONFIG), &silent),
    ] {
        assert!(parse(content_type, raw).is_err(), "{content_type:?}");
    }
}

#[test]
fn a_manifest_is_not_two_things_at_once() {
    assert!(problem(&with(image(), "", "manifests", json!([]))).contains("only an index"));
    assert!(problem(&with(index(), "", "layers", json!([]))).contains("only an image"));
    assert!(problem(&with(index(), "", "config", descriptor(media::OCI_CONFIG, "{}"))).contains("only an image"));
    assert!(problem(&with(image(), "", "config", Value::Null)).contains("no config"));
    assert!(problem(&with(image(), "", "schemaVersion", json!(1))).contains("schemaVersion 1"));
}

#[test]
fn bytes_that_are_no_manifest() {
    let good = image().to_string();
    let doubled = good.replacen("\"layers\"", "\"layers\":[],\"layers\"", 1);
    let escaped = good.replacen("\"layers\"", "\"l\\u0061yers\":[],\"layers\"", 1);
    let inner = good.replacen("\"size\"", "\"x\":{\"k\":1,\"k\":2},\"size\"", 1);
    let trailing = format!("{good} {{}}");
    let bom = format!("\u{feff}{good}");
    for raw in [
        "",
        "xx",
        "[]",
        "null",
        "{}",
        "\"s\"",
        "2",
        &doubled,
        &escaped,
        &inner,
        &trailing,
        &bom,
        &good[1..],
        &good[..99],
    ] {
        let error = ManifestView::parse(Some(media::OCI_MANIFEST), raw.as_bytes()).unwrap_err();
        assert_eq!((error.code().as_str(), error.status()), ("MANIFEST_INVALID", 400), "{raw}");
    }
    let mut not_utf8 = good.into_bytes();
    let position = not_utf8.iter().position(|byte| *byte == b'v').unwrap();
    not_utf8[position] = 0xff;
    assert!(matches!(ManifestView::parse(None, &not_utf8), Err(ManifestError::Json(_))));
}

#[test]
fn odd_sizes_are_refused() {
    let good = image().to_string();
    for size in [
        "-1",
        "-0",
        "1.5",
        "1e3",
        "7.0",
        "\"7\"",
        "null",
        "9223372036854775808",
        "18446744073709551616",
        "NaN",
        "07",
        "+7",
    ] {
        let raw = good.replacen("\"size\":7", &format!("\"size\":{size}"), 1);
        assert_ne!(raw, good);
        assert!(ManifestView::parse(None, raw.as_bytes()).is_err(), "{size}");
    }
    let raw = good.replacen("\"size\":7", "\"size\":9223372036854775807", 1);
    assert_eq!(ManifestView::parse(None, raw.as_bytes()).unwrap().layers[0].size_bytes, i64::MAX as u64);
}

#[test]
fn bad_descriptors_are_refused() {
    for (field, value) in [
        ("digest", json!("md5:d41d8cd98f00b204e9800998ecf8427e")),
        ("digest", json!(format!("{}0", digest_of("layer 1")))),
        ("digest", Value::Null),
        ("mediaType", json!("")),
        ("mediaType", Value::Null),
        ("urls", json!("https://example.com")),
        ("data", json!("not base64")),
        ("data", json!("bGF5ZXIgMg==")),
        ("data", json!("bGF5ZXI=")),
        ("data", json!("A".repeat(2_000_000))),
    ] {
        for pointer in ["/layers/0", "/config"] {
            assert!(parse(&with(image(), pointer, field, value.clone())).is_err(), "{field} = {value:.20}");
        }
    }
    assert!(parse(&with(image(), "/layers/0", "data", json!("bGF5ZXIgMQ=="))).is_ok());
}

#[test]
fn limits_of_size_and_number() {
    let room = MAX_MANIFEST_BYTES - with(image(), "", "x", json!("")).to_string().len();
    let full = with(image(), "", "x", json!("x".repeat(room))).to_string();
    assert_eq!(full.len(), MAX_MANIFEST_BYTES);
    assert!(ManifestView::parse(None, full.as_bytes()).is_ok());
    let error = ManifestView::parse(None, format!("{full} ").as_bytes()).unwrap_err();
    assert_eq!((error.code().as_str(), error.status()), ("MANIFEST_INVALID", 413));

    let layers = |count| with(image(), "", "layers", json!(vec![descriptor("a/b", ""); count]));
    assert!(parse(&layers(MAX_DESCRIPTORS - 1)).is_ok());
    assert!(problem(&layers(MAX_DESCRIPTORS)).contains("10001 descriptors"));
    let tiny = format!("{{\"x\":[{}0]}}", "0,".repeat(1_000_000));
    assert!(ManifestView::parse(None, tiny.as_bytes()).unwrap_err().to_string().contains("more than 250000 values"));
}

#[test]
fn nesting_is_limited() {
    let nested = |depth: usize| {
        with(image(), "", "x", Value::Null).to_string().replacen(
            "null",
            &format!("{}{}", "[".repeat(depth), "]".repeat(depth)),
            1,
        )
    };
    // The manifest itself is the first level.
    assert!(ManifestView::parse(None, nested(63).as_bytes()).is_ok());
    assert!(
        ManifestView::parse(None, nested(64).as_bytes()).unwrap_err().to_string().contains("nested deeper than 64")
    );
    assert!(ManifestView::parse(None, nested(20_000).as_bytes()).is_err());
    assert!(ManifestView::parse(None, "[".repeat(1_000_000).as_bytes()).is_err());
    assert!(ManifestView::parse(None, "{\"a\":".repeat(100_000).as_bytes()).is_err());
}

#[test]
fn errors_stay_short() {
    let long = with(image(), "", "schemaVersion", json!("x".repeat(100_000)));
    assert!(problem(&long).len() < 300, "{}", problem(&long));
    let long = with(image(), "", "mediaType", json!("x".repeat(100_000)));
    assert!(problem(&long).len() < 500, "{}", problem(&long));
}

fn any_descriptor() -> impl Strategy<Value = Descriptor> {
    let annotations = proptest::collection::btree_map("[a-z.]{1,9}", "\\PC{0,9}", 0..3);
    (
        "[a-z]{1,9}/[a-z.+]{1,9}",
        digest(),
        0..=i64::MAX as u64,
        vec("https://[a-z]{1,9}", 0..2),
        annotations,
        option::of("[a-z]{1,5}/[a-z]{1,5}"),
    )
        .prop_map(|(media_type, digest, size_bytes, urls, annotations, artifact_type)| Descriptor {
            urls,
            annotations,
            artifact_type,
            ..Descriptor::new(media_type, digest, size_bytes)
        })
}

proptest! {
    #[test]
    fn descriptors_are_read_as_they_were_written(
        config in any_descriptor(),
        layers in vec(any_descriptor(), 0..5),
        subject in option::of(any_descriptor()),
    ) {
        let value = json!({"schemaVersion": 2, "config": config, "layers": layers, "subject": subject});
        let value = with(value, "", "mediaType", json!(media::OCI_MANIFEST));
        let view = parse(&value).unwrap();
        assert_eq!((view.config, view.layers, view.subject), (Some(config), layers, subject));
    }

    #[test]
    fn no_damage_makes_the_parser_panic(raw in nearly(Just(image().to_string()), "{}[]\",:0-9ed\\u")) {
        let _ = ManifestView::parse(None, raw.as_bytes());
    }

    #[test]
    fn json_is_refused_exactly_for_a_key_given_twice(
        keys in vec("[ab]{1,2}", 0..5),
        depth in 0..5_usize,
        value in any::<i32>(),
    ) {
        let fields: Vec<String> = keys.iter().map(|key| format!("{key:?}:{value}")).collect();
        let raw = format!("{}{{{}}}{}", "{\"x\":[".repeat(depth), fields.join(","), "]}".repeat(depth));
        let mut unique = keys.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(super::json::check(raw.as_bytes()).is_ok(), unique.len() == keys.len(), "{raw}");
    }
}
