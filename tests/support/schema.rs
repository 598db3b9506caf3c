//! The part of JSON Schema that the AsyncAPI file uses.

use serde_json::Value;

/// Why a value does not fit a schema; `None` if it does. `doc` is where `$ref` looks.
pub fn misfit(doc: &Value, schema: &Value, value: &Value) -> Option<String> {
    let members = schema.as_object().expect("a schema is an object");
    members.iter().find_map(|(keyword, wants)| match keyword.as_str() {
        "$ref" => {
            let path =
                wants.as_str().and_then(|path| path.strip_prefix('#')).expect("a reference in the file");
            misfit(doc, doc.pointer(path).unwrap_or_else(|| panic!("nothing at {path}")), value)
        }
        "type" => {
            let kinds = wants.as_array().map_or(vec![wants], |kinds| kinds.iter().collect());
            let fits = kinds.iter().any(|kind| is_a(value, kind.as_str().expect("a type")));
            (!fits).then(|| format!("{value} is no {wants}"))
        }
        "const" => (value != wants).then(|| format!("{value} is not {wants}")),
        "enum" => {
            let words = wants.as_array().expect("a list");
            (!words.contains(value)).then(|| format!("{value} is none of {wants}"))
        }
        "minimum" => (value.as_f64() < wants.as_f64()).then(|| format!("{value} is less than {wants}")),
        "maximum" => (value.as_f64() > wants.as_f64()).then(|| format!("{value} is more than {wants}")),
        "properties" => wants.as_object().expect("an object").iter().find_map(|(name, schema)| {
            let why = misfit(doc, schema, value.get(name)?)?;
            Some(format!("{name}: {why}"))
        }),
        "required" => {
            let missing =
                wants.as_array().expect("a list").iter().find(|name| value.get(text(name)).is_none());
            missing.map(|name| format!("{name} is missing"))
        }
        "additionalProperties" => {
            let known = &schema["properties"];
            let more = value.as_object()?.keys().find(|name| known.get(name.as_str()).is_none());
            more.map(|name| format!("{name} is not described"))
        }
        "items" => value.as_array()?.iter().find_map(|item| misfit(doc, wants, item)),
        "pattern" => {
            assert_eq!(wants, "^[0-9a-f]+$", "no other pattern is known here");
            let hex = value.as_str()?.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            (!hex).then(|| format!("{value} is not hexadecimal"))
        }
        "format" => {
            let time = humantime::parse_rfc3339(value.as_str()?);
            (wants == "date-time" && time.is_err()).then(|| format!("{value} is no time"))
        }
        "description" => None,
        other => panic!("{other} is not known here"),
    })
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn is_a(value: &Value, kind: &str) -> bool {
    match kind {
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        other => panic!("{other} is no type"),
    }
}
