//! What a content type says about a payload.

/// Whether a content type says that the payload is JSON: `application/json`, `text/json`,
/// `…+json`, with or without parameters.
pub fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    matches!(essence.as_str(), "application/json" | "text/json") || essence.ends_with("+json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_told_by_type_or_suffix_whatever_the_case_and_parameters() {
        let cases = [
            ("application/json", true),
            ("text/json", true),
            ("APPLICATION/Json", true),
            (" application/json ", true),
            ("application/json;charset=utf-8", true),
            ("application/json ; charset=utf-8", true),
            ("application/vnd.x+json", true),
            ("application/vnd.x+json; charset=utf-8", true),
            ("application/cloudevents+JSON", true),
            ("model/gltf+json", true),
            ("", false),
            (";", false),
            ("json", false),
            ("text/plain", false),
            ("text/plain; a=application/json", false),
            ("text/plain; a=b+json", false),
            ("application/jsonl", false),
            ("application/json-seq", false),
            ("application/x-json", false),
            ("application/json+xml", false),
            ("application/cbor", false),
            ("application/octet-stream", false),
        ];
        for (content_type, expected) in cases {
            assert_eq!(is_json(content_type), expected, "{content_type:?}");
        }
    }
}
