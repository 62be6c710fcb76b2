//! White space around a payload in a document.
//!
//! To JSON it is no part of the value, and to a device that signed its bytes it is. Documents of ours have none but that of
//! the payload, so what stands around `data` in a document that is written closely is the payload's own. In one that was
//! laid out, by whatever program, it belongs to the layout.

/// The value of `data` with the white space around it that belongs to it. It is a part of the document.
pub(super) fn with_its_own<'d>(document: &'d str, data: &'d str) -> &'d str {
    let start = (data.as_ptr() as usize).checked_sub(document.as_ptr() as usize);
    let parts = start.and_then(|start| {
        let (before, rest) = document.split_at_checked(start)?;
        Some((before, rest.get(data.len()..)?))
    });
    let Some((before, behind)) = parts else {
        return data;
    };
    let (front, back) = (
        before.trim_end_matches(is_blank),
        behind.trim_start_matches(is_blank),
    );
    if !is_close(front.trim_start_matches(is_blank)) || !is_close(back.trim_end_matches(is_blank)) {
        return data;
    }
    let own = front.len()..document.len() - back.len();
    document.get(own).unwrap_or(data)
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// Whether a part of a document, which begins and ends between its texts, has white space nowhere but in these.
fn is_close(part: &str) -> bool {
    let (mut in_text, mut is_escaped) = (false, false);
    for c in part.chars() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = in_text,
            '"' => in_text = !in_text,
            c if !in_text && is_blank(c) => return false,
            _ => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_belongs_to_the_payload_where_there_is_none_else() {
        for (document, expected) in [
            (r#"{"id":"a b","data": 1 }"#, " 1 "),
            ("{\"data\":\r\n{}\t\n,\"id\":\"a\"}", "\r\n{}\t\n"),
            (
                r#"{"a":"x\" y","data": [ 1 , 2 ] ,"b":" \\"}"#,
                " [ 1 , 2 ] ",
            ),
            ("\n{\"data\": 1 }\r\n", " 1 "),
            (r#"{"data":1}"#, "1"),
            (r#"{"id":"a", "data": 1 }"#, "1"),
            (r#"{"id": "a","data": 1 }"#, "1"),
            (r#"{ "data": 1 }"#, "1"),
            ("{\n  \"data\": 1,\n  \"id\": \"a\"\n}", "1"),
            (r#"{"data": 1 ,"id":"a" }"#, "1"),
        ] {
            let members: std::collections::BTreeMap<String, &serde_json::value::RawValue> =
                serde_json::from_str(document).expect("JSON");
            let found = with_its_own(document, members["data"].get());
            assert_eq!(found, expected, "{document}");
        }
        assert_eq!(with_its_own("{}", "elsewhere"), "elsewhere");
    }
}
