//! Documents as plain JSON, for clients that know nothing of MongoDB. PURE.
//!
//! | in MongoDB | in JSON |
//! |---|---|
//! | string, boolean, null, object, array | the same |
//! | int, long | a number, with all its digits |
//! | double | a number; `null` for NaN and the infinities |
//! | ObjectId | its 24 hexadecimal digits |
//! | date | RFC 3339 in UTC with milliseconds, as JavaScript's `toISOString` |
//! | decimal | a string, so that no digit is lost |
//! | UUID | a string with hyphens |
//! | other binary data | a string in base64 |
//! | timestamp | its seconds |
//! | regular expression, JavaScript, symbol | its text |
//! | min key, max key, undefined, DB pointer | `null` |

use std::fmt::Write;
use std::ops::RangeInclusive;

use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, RawArray, RawBsonRef, RawDocument, error::Result};

/// Levels of nesting; MongoDB allows no more than 100.
const DEEPEST: usize = 120;

/// The years 0 to 9999 in Unix milliseconds.
const DATES: RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;

/// Writes a document as JSON behind what there is.
pub(super) fn write_document(document: &RawDocument, out: &mut String) -> Result<()> {
    object(document, out, 0)
}

/// Adds the texts that stand at a path; a list stands for its items. What cannot be read or is no
/// text is passed over.
pub(super) fn collect_texts(value: RawBsonRef<'_>, path: &str, out: &mut Vec<String>) {
    if let RawBsonRef::Array(items) = value {
        let items = items.into_iter().flatten();
        return items.for_each(|item| collect_texts(item, path, out));
    }
    let (step, rest) = path.split_once('.').unwrap_or((path, ""));
    match value {
        _ if step.is_empty() => out.extend(text(value)),
        RawBsonRef::Document(document) => {
            if let Ok(Some(value)) = document.get(step) {
                collect_texts(value, rest, out);
            }
        }
        _ => {}
    }
}

/// A value as the text that stands for it in the name of a room; none if it is not a text, a whole
/// number, an id or a truth value.
pub(super) fn text(value: RawBsonRef<'_>) -> Option<String> {
    match value {
        RawBsonRef::String(text) => Some(text.to_owned()),
        RawBsonRef::ObjectId(id) => Some(id.to_hex()),
        RawBsonRef::Int32(number) => Some(number.to_string()),
        RawBsonRef::Int64(number) => Some(number.to_string()),
        RawBsonRef::Boolean(truth) => Some(truth.to_string()),
        RawBsonRef::Double(number) if is_whole(number) => Some(format!("{number:.0}")),
        RawBsonRef::Binary(binary) => {
            let binary = Binary {
                subtype: binary.subtype,
                bytes: binary.bytes.to_vec(),
            };
            binary.to_uuid().ok().map(|uuid| uuid.to_string())
        }
        _ => None,
    }
}

fn object(document: &RawDocument, out: &mut String, depth: usize) -> Result<()> {
    out.push('{');
    for (at, field) in document.iter().enumerate() {
        let (name, value) = field?;
        if at > 0 {
            out.push(',');
        }
        string(name.as_ref(), out);
        out.push(':');
        any(value, out, depth + 1)?;
    }
    out.push('}');
    Ok(())
}

fn array(items: &RawArray, out: &mut String, depth: usize) -> Result<()> {
    out.push('[');
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        any(item?, out, depth + 1)?;
    }
    out.push(']');
    Ok(())
}

fn any(value: RawBsonRef<'_>, out: &mut String, depth: usize) -> Result<()> {
    match value {
        RawBsonRef::Document(_) | RawBsonRef::Array(_) if depth > DEEPEST => out.push_str("null"),
        RawBsonRef::Document(document) => object(document, out, depth)?,
        RawBsonRef::Array(items) => array(items, out, depth)?,
        RawBsonRef::String(text) | RawBsonRef::Symbol(text) => string(text, out),
        RawBsonRef::JavaScriptCode(code) => string(code, out),
        RawBsonRef::JavaScriptCodeWithScope(code) => string(code.code, out),
        RawBsonRef::Boolean(truth) => put(out, truth),
        RawBsonRef::Int32(number) => put(out, number),
        RawBsonRef::Int64(number) => put(out, number),
        RawBsonRef::Double(number) if is_whole(number) => put(out, number as i64),
        RawBsonRef::Double(number) => {
            // Not a number, and the infinities, become null.
            out.push_str(&serde_json::Value::from(number).to_string());
        }
        RawBsonRef::ObjectId(id) => string(&id.to_hex(), out),
        // Further dates have no such text; the driver would give the furthest that has one.
        RawBsonRef::DateTime(date) if !DATES.contains(&date.timestamp_millis()) => {
            out.push_str("null");
        }
        RawBsonRef::DateTime(date) => match date.try_to_rfc3339_string() {
            Ok(text) => string(&with_milliseconds(&text), out),
            Err(_) => out.push_str("null"),
        },
        RawBsonRef::Decimal128(decimal) => string(&decimal.to_string(), out),
        RawBsonRef::Binary(binary) => match text(value) {
            Some(uuid) if binary.subtype == BinarySubtype::Uuid => string(&uuid, out),
            _ => string(&base64(binary.bytes), out),
        },
        RawBsonRef::Timestamp(timestamp) => put(out, timestamp.time),
        RawBsonRef::RegularExpression(regex) => {
            string(&format!("/{}/{}", regex.pattern, regex.options), out);
        }
        RawBsonRef::Null
        | RawBsonRef::Undefined
        | RawBsonRef::MinKey
        | RawBsonRef::MaxKey
        | RawBsonRef::DbPointer(_) => out.push_str("null"),
    }
    Ok(())
}

/// Whether a double is a whole number that it can tell from its neighbours.
fn is_whole(number: f64) -> bool {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    number.fract() == 0.0 && number.abs() <= EXACT
}

/// `…:07Z` and `…:07.5Z` as JavaScript writes them.
fn with_milliseconds(text: &str) -> String {
    let text = text.trim_end_matches('Z');
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{seconds}.{fraction:0<3}Z")
}

fn put(out: &mut String, value: impl std::fmt::Display) {
    // A text takes everything.
    let _ = write!(out, "{value}");
}

fn string(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

fn base64(bytes: &[u8]) -> String {
    use ::base64::{Engine as _, prelude::BASE64_STANDARD};
    BASE64_STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use mongodb::bson::oid::ObjectId;
    use mongodb::bson::{Bson, DateTime, RawDocumentBuf, Timestamp, Uuid, doc};

    use super::*;

    fn json(document: mongodb::bson::Document) -> String {
        let raw = RawDocumentBuf::try_from(&document).unwrap();
        let mut out = String::new();
        write_document(&raw, &mut out).unwrap();
        out
    }

    #[test]
    fn every_kind_of_value_has_its_form() {
        let id = ObjectId::parse_str("65f0c0ffee0123456789abcd").unwrap();
        let uuid = Uuid::parse_str("936da01f-9abd-4d9d-80c7-02af85c822a8").unwrap();
        let binary = |bytes: &[u8]| Binary {
            subtype: BinarySubtype::Generic,
            bytes: bytes.to_vec(),
        };
        let decimal: mongodb::bson::Decimal128 = "12.50".parse().unwrap();
        for (value, expected) in [
            (Bson::from("a\"é\n"), r#""a\"é\n""#),
            (Bson::Int32(-7), "-7"),
            (Bson::Int64(i64::MAX), "9223372036854775807"),
            (Bson::Double(190.5), "190.5"),
            (Bson::Double(100.0), "100"),
            (Bson::Double(1e300), "1e+300"),
            (Bson::Double(f64::NAN), "null"),
            (Bson::ObjectId(id), r#""65f0c0ffee0123456789abcd""#),
            (
                Bson::DateTime(DateTime::from_millis(1_700_000_000_500)),
                r#""2023-11-14T22:13:20.500Z""#,
            ),
            (
                Bson::DateTime(DateTime::from_millis(1_700_000_000_000)),
                r#""2023-11-14T22:13:20.000Z""#,
            ),
            (
                Bson::DateTime(DateTime::from_millis(*DATES.start())),
                r#""0000-01-01T00:00:00.000Z""#,
            ),
            (
                Bson::DateTime(DateTime::from_millis(*DATES.end())),
                r#""9999-12-31T23:59:59.999Z""#,
            ),
            (
                Bson::DateTime(DateTime::from_millis(*DATES.start() - 1)),
                "null",
            ),
            (
                Bson::DateTime(DateTime::from_millis(*DATES.end() + 1)),
                "null",
            ),
            (Bson::DateTime(DateTime::MAX), "null"),
            (Bson::Decimal128(decimal), r#""12.50""#),
            (
                Bson::from(uuid),
                r#""936da01f-9abd-4d9d-80c7-02af85c822a8""#,
            ),
            (Bson::Binary(binary(b"zero")), r#""emVybw==""#),
            (
                Bson::Timestamp(Timestamp {
                    time: 9,
                    increment: 2,
                }),
                "9",
            ),
            (Bson::MinKey, "null"),
            (Bson::Null, "null"),
            (Bson::from(vec![1, 2]), "[1,2]"),
            (Bson::from(doc! {"a": {"b": true}}), r#"{"a":{"b":true}}"#),
        ] {
            let expected = format!(r#"{{"v":{expected}}}"#);
            let found = json(doc! { "v": value });
            assert_eq!(found, expected);
            serde_json::from_str::<serde_json::Value>(&found).unwrap();
        }
        assert_eq!(json(doc! {}), "{}");
    }

    #[test]
    fn names_of_rooms_are_made_of_what_is_one_word() {
        let text_of = |value: Bson| {
            let raw = RawDocumentBuf::try_from(&doc! { "v": value }).unwrap();
            text(raw.get("v").unwrap().unwrap())
        };
        assert_eq!(text_of(Bson::from("alice")).as_deref(), Some("alice"));
        assert_eq!(text_of(Bson::Double(17.0)).as_deref(), Some("17"));
        assert_eq!(text_of(Bson::Int64(-3)).as_deref(), Some("-3"));
        for none in [Bson::Null, Bson::Double(0.5), Bson::from(vec![1])] {
            assert_eq!(text_of(none), None);
        }
    }

    #[test]
    fn texts_are_found_through_documents_and_lists() {
        let list = doc! {
            "symbols": ["A", 5, ["B"], { "C": 1 }, Bson::Null, 1.5],
            "one": "D",
            "items": [{ "of": { "symbol": "E" } }, { "of": "F" }, { "of": [{ "symbol": "G" }] }],
        };
        let list = RawDocumentBuf::try_from(&list).unwrap();
        for (path, expected) in [
            ("symbols", vec!["A", "5", "B"]),
            ("one", vec!["D"]),
            ("items.of.symbol", vec!["E", "G"]),
            ("items.of", vec!["F"]),
            ("one.more", vec![]),
            ("none", vec![]),
        ] {
            let mut found = Vec::new();
            collect_texts(RawBsonRef::Document(&list), path, &mut found);
            assert_eq!(found, expected, "{path}");
        }
    }
}
