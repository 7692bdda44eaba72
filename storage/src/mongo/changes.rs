//! Changes of a collection, in order, from a place on.

use std::time::Duration;

use mongodb::bson::{Document, RawDocumentBuf, doc};
use mongodb::change_stream::ChangeStream;
use mongodb::change_stream::event::{ChangeStreamEvent, OperationType};
use mongodb::options::FullDocumentType;

use super::find::FindValue;
use super::lease::Token;
use super::{Mongo, MongoError, plain, primary};

/// How long the server waits for a change before it says that there is none.
const AWAIT: Duration = Duration::from_millis(500);

/// What health calls it.
pub const READING_CHANGES: &str = "read changes";

/// The changes after a token are not there any more, it is none of this server's, or the next one is
/// larger than MongoDB can tell: it would be so for ever.
const GONE: [i32; 5] = [136, 260, 280, 286, 10334];

/// The server cannot tell of changes: it is no replica set.
const NO_REPLICA_SET: i32 = 40573;

/// What to watch.
#[derive(Clone, Debug, PartialEq)]
pub struct Watch {
    /// The collection.
    pub collection: String,
    /// The kinds of change: `insert`, `update`, `replace`.
    pub operations: Vec<String>,
    /// Fields of the document as it is after the change, and the values that they must have.
    pub filter: Vec<(String, FindValue)>,
}

/// An open stream of changes.
pub struct Changes {
    stream: ChangeStream<ChangeStreamEvent<RawDocumentBuf>>,
    mongo: Mongo,
}

/// One step of a stream.
#[derive(Debug)]
pub enum Step {
    /// A change.
    Change(Change),
    /// None until now; a stream may go on from here.
    Passed(Token),
    /// None until now.
    Nothing,
    /// The collection is gone. The stream ends, and may be opened again from here.
    Ended(Token),
}

/// A change.
#[derive(Debug)]
pub struct Change {
    /// The place after it.
    pub token: Token,
    /// The document as it is after the change; none if it was deleted meanwhile.
    pub document: Option<Row>,
}

/// A document.
#[derive(Debug)]
pub struct Row(RawDocumentBuf);

/// Why a stream broke off.
#[derive(Debug, thiserror::Error)]
pub enum ChangesError {
    /// MongoDB does not have the changes any more, or cannot tell the next one.
    #[error("MongoDB does not tell the changes after this place any more")]
    Gone,
    /// This MongoDB has no change streams. Trying again soon is useless.
    #[error("this MongoDB is no replica set, so it has no change streams")]
    Unsupported,
    /// MongoDB did not answer as it should.
    #[error(transparent)]
    Mongo(#[from] MongoError),
}

impl Watch {
    fn pipeline(&self) -> Option<[Document; 2]> {
        let mut wanted = doc! { "operationType": { "$in": &self.operations } };
        for (field, value) in &self.filter {
            wanted.insert(format!("fullDocument.{field}"), value.bson()?);
        }
        // The end of a stream must be seen in any case.
        let wanted = doc! { "$match": { "$or": [{ "operationType": "invalidate" }, wanted] } };
        // What an update changed is in the document already: twice, a large one would be too large.
        let fields = doc! { "$project": { "updateDescription": 0 } };
        Some([wanted, fields])
    }
}

impl Mongo {
    /// Opens a stream after a place, or from now on.
    pub async fn changes(
        &self,
        watch: &Watch,
        after: Option<Token>,
    ) -> Result<Changes, ChangesError> {
        let opened = tokio::time::timeout(self.timeout(), self.watch_changes(watch, after)).await;
        let opened = opened.unwrap_or(Err(MongoError::Deadline(self.timeout())));
        self.note(READING_CHANGES, opened.as_ref().map(|_| ()));
        let stream = opened.map_err(changes_error)?;
        let mongo = self.clone();
        Ok(Changes { stream, mongo })
    }

    async fn watch_changes(
        &self,
        watch: &Watch,
        after: Option<Token>,
    ) -> Result<ChangeStream<ChangeStreamEvent<RawDocumentBuf>>, MongoError> {
        let collection = self
            .database()
            .await?
            .collection::<RawDocumentBuf>(&watch.collection);
        let mut watching = collection
            .watch()
            .pipeline(watch.pipeline().into_iter().flatten())
            .full_document(FullDocumentType::UpdateLookup)
            .max_await_time(AWAIT)
            .selection_criteria(primary());
        if let Some(Token(token)) = after {
            watching = watching.start_after(token);
        }
        Ok(watching.await?)
    }
}

impl Changes {
    /// The next step. If it is dropped before it is done, so must the stream be.
    pub async fn next(&mut self) -> Result<Step, ChangesError> {
        let deadline = AWAIT + self.mongo.timeout();
        let next = tokio::time::timeout(deadline, self.stream.next_if_any()).await;
        let next = match next {
            Ok(next) => next.map_err(MongoError::from),
            Err(_) => Err(MongoError::Deadline(deadline)),
        };
        self.mongo.note(READING_CHANGES, next.as_ref().map(|_| ()));
        let Some(event) = next.map_err(changes_error)? else {
            let token = self.stream.resume_token();
            return Ok(token.map_or(Step::Nothing, |token| Step::Passed(Token(token))));
        };
        let token = Token(event.id);
        Ok(match event.operation_type {
            OperationType::Invalidate => Step::Ended(token),
            _ => Step::Change(Change {
                token,
                document: event.full_document.map(Row),
            }),
        })
    }
}

impl Token {
    /// A text that is the same wherever and whenever the change is read.
    pub fn text(&self) -> String {
        let token = mongodb::bson::serialize_to_document(&self.0).unwrap_or_default();
        match token.get_str("_data") {
            Ok(data) => data.to_owned(),
            Err(_) => token.to_string(),
        }
    }
}

impl Row {
    /// The document as JSON, or these fields of it.
    pub fn json(&self, fields: &[String]) -> Option<String> {
        let mut text = String::new();
        if fields.is_empty() {
            plain::write_document(&self.0, &mut text).ok()?;
            return Some(text);
        }
        let mut chosen = RawDocumentBuf::new();
        for field in self.0.iter() {
            let (name, value) = field.ok()?;
            let name: &str = name.as_ref();
            if fields.iter().any(|field| field == name) {
                chosen.append(mongodb::bson::raw::CString::try_from(name).ok()?, value);
            }
        }
        plain::write_document(&chosen, &mut text).ok()?;
        Some(text)
    }

    /// The text that stands for a field in the name of a room.
    pub fn text(&self, path: &str) -> Option<String> {
        let mut document = &*self.0;
        let mut steps = path.split('.').peekable();
        while let Some(step) = steps.next() {
            let value = document.get(step).ok()??;
            match steps.peek() {
                None => return plain::text(value).filter(|text| !text.is_empty()),
                Some(_) => document = value.as_document()?,
            }
        }
        None
    }
}

fn changes_error(error: MongoError) -> ChangesError {
    match error.code() {
        Some(code) if GONE.contains(&code) => ChangesError::Gone,
        Some(NO_REPLICA_SET) => ChangesError::Unsupported,
        _ => ChangesError::Mongo(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(document: Document) -> Row {
        Row(RawDocumentBuf::try_from(&document).unwrap())
    }

    #[test]
    fn fields_are_chosen_and_named_by_their_paths() {
        let trade = row(doc! { "userId": "alice", "at": { "desk": 7 }, "price": 190.5, "x": "" });
        assert_eq!(
            trade.json(&["price".into(), "userId".into()]).unwrap(),
            r#"{"userId":"alice","price":190.5}"#
        );
        assert_eq!(trade.text("userId").as_deref(), Some("alice"));
        assert_eq!(trade.text("at.desk").as_deref(), Some("7"));
        for none in ["x", "y", "at", "userId.z", "price"] {
            assert_eq!(trade.text(none), None, "{none}");
        }
    }

    #[test]
    fn the_end_of_a_stream_passes_every_filter() {
        let watch = Watch {
            collection: "trades".into(),
            operations: vec!["insert".into()],
            filter: vec![("status".into(), FindValue::Text("failed".into()))],
        };
        let wanted =
            doc! { "operationType": { "$in": ["insert"] }, "fullDocument.status": "failed" };
        let expected = doc! { "$match": { "$or": [{ "operationType": "invalidate" }, wanted] } };
        let fields = doc! { "$project": { "updateDescription": 0 } };
        assert_eq!(watch.pipeline().unwrap(), [expected, fields]);
    }
}
