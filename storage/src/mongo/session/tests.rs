use mongodb::bson::oid::ObjectId;
use mongodb::bson::{DateTime, Document, RawDocumentBuf, doc};
use proptest::prelude::{any, prop_assert_eq, proptest};

use super::*;

/// Made with connect-mongo 6.0.0 and kruptein 3.0.8 from `PLAIN` and the secret `SECRET`.
const KRUPTEIN: &str = "MIIB7gSBlFVKZkV6Q2dMNWRoQ1JiMjBWWWFXeFhZT0FoQno3TUlML3krMVlrbkQxZ0pQVzFJMVNVemhTSjl3aDYzcUROaEE0QzBOYTdsVm1laWdXbVozM3RxT2hjOTZtSnlDcHlodDByWXpMcnhYd2l6SkU2U0FuMDJtbkZObUdEaEFsczdlbmpMdzlUTVl4Qm5QVUFaeWlCTysEWDg1eW5WSEFFQTd4L3BLOFU3TXM4MVVJakRiQnh2aHlBTW1VZ29JTkw5TlNFM0dTZHFnN0FWRkQvMU9rc2dSL0dJL1N5RGNIQVdHQmlkN1p6VUlFQjBRPT0EDDZYUwhf66LtbN4gYgSBgGD8uqweQGS+TalcuWUDaVE07+l13pPZs+qsfj5hUHdE5Jg+6kvWPwQPeaiYKfT2u7qP5L0qGPQDcTffDcvkBPt61T2sV0TIcW9BQZbP3VZnEJg1TlUBi9c9nvB5A0sjQDLUqk0xW0chtk6ZwomSV2iyQJ01apoQkIuPrJopq63LBBDJTIfREiZYehnMmQ3uqKJpBFgrVjVXaDFmMXhoKzlYVi83SnlxRitNa0xOYXFocHowczYwd0d2MUFEZ2VTQklqaERrdnpnc1BNYmpoZ0F4NmlEKzhpWC9hOFZCN05NeHRzblQ0QkdHQT09";

/// The same by connect-mongo's Web Crypto adapter.
const WEB: &str = "veZseh29ij73TnVlUcSq+8NgoJW7u7+TVsPoi1XLL+Nw6EOBhS7vXEPdwITricRgXr4mu8gtzK5ZlkUhkLoI3Fl/CR++XUix0LClsGf/QeAeUBZI348WjY+wkcyKpuRoJE9/xXWNyrD2VG2I7v9R0aZs/w+DfcrAfg==";

const SECRET: &str = "squirrel squirrel";

/// A session of alice as `express-session` writes it.
const PLAIN: &str = r#"{"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"},"userId":"alice"}"#;

fn format(user_field: &str, secret: Option<&str>) -> SessionFormat {
    SessionFormat {
        user_field: FieldPath::parse(user_field).unwrap(),
        document_id: DocumentId::parse("{sid}").unwrap(),
        cipher: secret.map(Cipher::new),
    }
}

fn read(format: &SessionFormat, document: &Document) -> Result<StoredSession, Malformed> {
    format.read(&RawDocumentBuf::try_from(document).unwrap())
}

fn user(user_field: &str, session: Document) -> Result<Option<String>, Malformed> {
    let format = format(user_field, None);
    let text = serde_json::to_string(&session).unwrap();
    let as_text = read(&format, &doc! { "_id": "s", "session": text });
    let as_document = read(&format, &doc! { "_id": "s", "session": session });
    let user = |read: Result<StoredSession, _>| read.map(|read| read.user);
    let (as_text, as_document) = (user(as_text), user(as_document));
    assert_eq!(as_text, as_document, "text and sub-document say the same");
    as_document
}

#[test]
fn finds_the_user_in_text_and_in_a_sub_document() {
    let id = ObjectId::parse_str("64b7f0a1c2d3e4f5a6b7c8d9").unwrap();
    for (path, session, expected) in [
        (
            "userId",
            doc! { "cookie": {}, "userId": "alice" },
            Some("alice"),
        ),
        (
            "passport.user",
            doc! { "passport": { "user": "bob" } },
            Some("bob"),
        ),
        ("userId", doc! { "userId": 42 }, Some("42")),
        (
            "userId",
            doc! { "userId": 42_i64 << 33 },
            Some("360777252864"),
        ),
        (
            "userId",
            doc! { "userId": id },
            Some("64b7f0a1c2d3e4f5a6b7c8d9"),
        ),
        ("userId", doc! { "cookie": {} }, None),
        ("userId", doc! { "userId": null }, None),
        ("userId", doc! { "userId": "" }, None),
        ("passport.user", doc! { "passport": {} }, None),
        ("passport.user", doc! { "passport": "text" }, None),
    ] {
        let shown = session.to_string();
        assert_eq!(
            user(path, session),
            Ok(expected.map(str::to_owned)),
            "{shown}"
        );
    }
    for session in [
        doc! { "userId": true },
        doc! { "userId": ["a"] },
        doc! { "userId": 1.5 },
    ] {
        let shown = session.to_string();
        assert_eq!(user("userId", session), Err(Malformed::User), "{shown}");
    }
}

#[test]
fn opens_both_encrypted_forms_and_plain_ones_beside_them() {
    let format = format("userId", Some(SECRET));
    for text in [KRUPTEIN, WEB, PLAIN] {
        let read = read(&format, &doc! { "_id": "s", "session": text });
        assert_eq!(read.unwrap().user.as_deref(), Some("alice"), "{text}");
    }
}

#[test]
fn what_is_changed_or_of_another_secret_is_not_opened() {
    let other = format("userId", Some("another secret"));
    let format = format("userId", Some(SECRET));
    for text in [KRUPTEIN, WEB] {
        let document = doc! { "_id": "s", "session": text };
        assert_eq!(read(&other, &document), Err(Malformed::Cipher));
        let mut changed = text.to_owned().into_bytes();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        let changed = String::from_utf8(changed).unwrap();
        let document = doc! { "_id": "s", "session": changed };
        assert_eq!(read(&format, &document), Err(Malformed::Cipher));
    }
    assert_eq!(format!("{:?}", Cipher::new(SECRET)), "Cipher(***)");
}

#[test]
fn says_what_is_malformed() {
    let format = format("userId", None);
    for (document, expected) in [
        (doc! { "_id": "s" }, Malformed::Session),
        (doc! { "session": 5 }, Malformed::Session),
        (doc! { "session": "{" }, Malformed::Json),
        (doc! { "session": KRUPTEIN }, Malformed::Json),
        (
            doc! { "session": "{}", "expires": "soon" },
            Malformed::Expires,
        ),
    ] {
        assert_eq!(read(&format, &document), Err(expected), "{document}");
    }
}

#[test]
fn reads_the_end_and_tells_contents_apart() {
    let format = format("userId", None);
    let at = DateTime::from_millis(1_700_000_000_123);
    let one = read(&format, &doc! { "session": "{}", "expires": at }).unwrap();
    assert_eq!(one.expires_ms, 1_700_000_000_123);
    let two = read(&format, &doc! { "session": "{}" }).unwrap();
    assert_eq!(two.expires_ms, u64::MAX);
    assert_eq!(one.content, two.content);
    let three = read(&format, &doc! { "session": "{ }" }).unwrap();
    assert_ne!(one.content, three.content);
}

#[test]
fn a_documents_id_is_made_of_the_session_id() {
    let sha = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    for (form, expected) in [
        ("{sid}", "abc"),
        ("sess:{sid}", "sess:abc"),
        ("{sha256}", sha),
    ] {
        let id = DocumentId::parse(form).unwrap();
        assert_eq!(
            (id.of("abc").as_str(), id.to_string().as_str()),
            (expected, form)
        );
    }
    for form in ["", "sess", "{sid}{sid}", "{sid}{sha256}", "{id}", "{{sid}}"] {
        assert_eq!(
            DocumentId::parse(form),
            Err(FormError::DocumentId),
            "{form}"
        );
    }
    for path in ["", ".", "a.", "a..b"] {
        assert_eq!(FieldPath::parse(path), Err(FormError::Path), "{path}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>, text: String) {
        let cipher = Cipher::new(SECRET);
        let _ = cipher.open(&text);
        if let Ok(document) = RawDocument::from_bytes(&bytes) {
            let _ = format("a.b", None).read(document);
        }
    }

    #[test]
    fn a_sid_is_found_again_in_a_plain_id(before in "[a-z:]{0,8}", sid in any::<String>()) {
        let id = DocumentId::parse(&format!("{before}{{sid}}")).unwrap();
        let made = id.of(&sid);
        prop_assert_eq!(id.sid_of(&made), Some(sid.as_str()));
    }
}
