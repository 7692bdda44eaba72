//! Documents of an application, read as JSON.

use std::collections::HashSet;

use futures_util::TryStreamExt;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, RawBsonRef, RawDocumentBuf};
use mongodb::options::ReadConcern;

use super::{Mongo, MongoError, plain, primary};

/// What to read.
#[derive(Clone, Debug, PartialEq)]
pub struct Find {
    /// Where.
    pub collection: String,
    /// Fields and the values that they must have. Values are values: none is ever taken for an
    /// operator.
    pub filter: Vec<(String, FindValue)>,
    /// The fields that are given; all if there are none.
    pub fields: Vec<String>,
    /// By which fields, each with whether it descends.
    pub sort: Vec<(String, bool)>,
    /// Documents at most.
    pub limit: u32,
    /// Bytes of JSON at most.
    pub max_bytes: usize,
}

/// A value that a field must have.
#[derive(Clone, Debug, PartialEq)]
pub enum FindValue {
    /// A text.
    Text(String),
    /// The id of these 24 hexadecimal digits; no document has one of any other text.
    ObjectId(String),
    /// A whole number, int or long.
    Int(i64),
    /// A truth value.
    Bool(bool),
}

/// Why there is nothing to give.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// MongoDB did not answer as it should.
    #[error(transparent)]
    Mongo(#[from] MongoError),
    /// The documents take more than the allowed bytes.
    #[error("the documents take more than {0} bytes")]
    TooLarge(usize),
}

impl FindValue {
    /// The value itself; none if there is no such id.
    pub(super) fn bson(&self) -> Option<Bson> {
        Some(match self {
            FindValue::Text(text) => Bson::String(text.clone()),
            FindValue::ObjectId(text) => Bson::ObjectId(ObjectId::parse_str(text).ok()?),
            FindValue::Int(number) => Bson::Int64(*number),
            FindValue::Bool(truth) => Bson::Boolean(*truth),
        })
    }
}

impl Find {
    /// The filter as MongoDB takes it; none if no document can match.
    fn query(&self) -> Option<Document> {
        let mut query = Document::new();
        for (field, value) in &self.filter {
            query.insert(field, value.bson()?);
        }
        Some(query)
    }

    fn projection(&self) -> Option<Document> {
        if self.fields.is_empty() {
            return None;
        }
        let mut projection: Document = self
            .fields
            .iter()
            .map(|field| (field.clone(), Bson::Int32(1)))
            .collect();
        projection.entry("_id".to_owned()).or_insert(Bson::Int32(0));
        Some(projection)
    }

    fn order(&self) -> Document {
        let order = |descends: bool| Bson::Int32(if descends { -1 } else { 1 });
        let fields = self.sort.iter();
        fields
            .map(|(field, descends)| (field.clone(), order(*descends)))
            .collect()
    }
}

impl Mongo {
    /// Reads documents as JSON, from the primary: whatever was written before this was asked is
    /// among them.
    pub async fn find(&self, what: &'static str, find: &Find) -> Result<Vec<String>, FindError> {
        let found = self.find_raw(what, find).await?;
        let mut texts = Vec::with_capacity(found.len());
        let mut bytes = 0;
        for document in &found {
            let mut text = String::new();
            plain::write_document(document, &mut text)
                .map_err(|error| MongoError::from(mongodb::error::Error::from(error)))?;
            bytes += text.len();
            if bytes > find.max_bytes {
                return Err(FindError::TooLarge(find.max_bytes));
            }
            texts.push(text);
        }
        Ok(texts)
    }

    /// Reads the texts that stand in a field of documents, each once, in order: of the field itself,
    /// or of the items of a list, at any step of its path.
    pub async fn texts(
        &self,
        what: &'static str,
        find: &Find,
        path: &str,
    ) -> Result<Vec<String>, FindError> {
        let mut texts = Vec::new();
        for document in self.find_raw(what, find).await? {
            plain::collect_texts(RawBsonRef::Document(&document), path, &mut texts);
        }
        let mut seen = HashSet::new();
        texts.retain(|text| seen.insert(text.clone()));
        Ok(texts)
    }

    async fn find_raw(
        &self,
        what: &'static str,
        find: &Find,
    ) -> Result<Vec<RawDocumentBuf>, FindError> {
        let Some(query) = find.query() else {
            return Ok(Vec::new());
        };
        // JSON is rarely shorter than half of what it is made of.
        let raw_limit = find.max_bytes.saturating_mul(4);
        let found = self.run(what, |database| async move {
            let collection = database.collection::<RawDocumentBuf>(&find.collection);
            let mut cursor = collection
                .find(query)
                .sort(find.order())
                .limit(i64::from(find.limit))
                .selection_criteria(primary())
                .read_concern(ReadConcern::local())
                .max_time(self.timeout());
            if let Some(projection) = find.projection() {
                cursor = cursor.projection(projection);
            }
            let mut cursor = cursor.await?;
            let (mut found, mut bytes) = (Vec::new(), 0);
            while let Some(document) = cursor.try_next().await? {
                bytes += document.as_bytes().len();
                found.push(document);
                if bytes > raw_limit {
                    return Ok(None);
                }
            }
            Ok(Some(found))
        });
        found.await?.ok_or(FindError::TooLarge(find.max_bytes))
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::doc;

    use super::*;

    #[test]
    fn what_is_asked_for_are_values_and_nothing_else() {
        let mut find = Find {
            collection: "trades".into(),
            filter: vec![
                ("userId".into(), FindValue::Text(r#"{"$ne": null}"#.into())),
                ("open".into(), FindValue::Bool(true)),
            ],
            fields: vec!["symbol".into()],
            sort: vec![("at".into(), true), ("_id".into(), false)],
            limit: 5,
            max_bytes: 100,
        };
        let expected = doc! { "userId": "{\"$ne\": null}", "open": true };
        assert_eq!(find.query().unwrap(), expected);
        assert_eq!(find.projection().unwrap(), doc! { "symbol": 1, "_id": 0 });
        assert_eq!(find.order(), doc! { "at": -1, "_id": 1 });
        find.fields = vec!["_id".into()];
        assert_eq!(find.projection().unwrap(), doc! { "_id": 1 });
        find.filter = vec![("owner".into(), FindValue::ObjectId("no id".into()))];
        assert_eq!(find.query(), None, "it can be nobody's");
    }
}
