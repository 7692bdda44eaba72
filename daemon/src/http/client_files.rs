//! The browser client of an installed `socket.io-client`, served where Socket.IO serves it. Its
//! files are the operator's own; none of them are part of this program.

use std::{collections::BTreeMap, io, path::Path};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH},
};
use sha2::{Digest, Sha256};

use super::public::PublicRequest;

/// The files that Socket.IO serves; each may have a source map.
const NAMES: [&str; 4] = [
    "socket.io.js",
    "socket.io.min.js",
    "socket.io.esm.min.js",
    "socket.io.msgpack.min.js",
];

#[derive(Debug)]
struct File {
    body: Bytes,
    etag: HeaderValue,
    content_type: &'static str,
}

/// The files, by path. Empty where no folder is configured.
#[derive(Debug, Default)]
pub struct ClientFiles(BTreeMap<String, File>);

impl ClientFiles {
    /// Reads the `dist` folder of an installed `socket.io-client`; they will be below `path`.
    pub fn load(folder: &Path, path: &str) -> io::Result<Self> {
        let mut files = BTreeMap::new();
        for name in NAMES
            .iter()
            .flat_map(|name| [(*name).to_owned(), format!("{name}.map")])
        {
            match std::fs::read(folder.join(&name)) {
                Ok(body) => {
                    files.insert(format!("{path}{name}"), File::new(&name, body));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        if files.is_empty() {
            let message = format!("holds none of {}", NAMES.join(", "));
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        Ok(Self(files))
    }

    /// Whether a path names one of the files.
    pub fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    /// Answers a request for one of the files.
    pub fn answer(&self, request: &PublicRequest) -> Response<Full<Bytes>> {
        let Some(file) = self.0.get(&request.path) else {
            return super::public::not_found();
        };
        let known = request.headers.get_all(IF_NONE_MATCH).iter().any(|etag| {
            let etags = etag.to_str().unwrap_or_default().split(',');
            etags
                .map(|etag| etag.trim().trim_start_matches("W/"))
                .any(|etag| file.etag == etag)
        });
        let mut answer = Response::new(Full::new(if known {
            Bytes::new()
        } else {
            file.body.clone()
        }));
        if known {
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let headers = answer.headers_mut();
        headers.insert(ETAG, file.etag.clone());
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=0"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(file.content_type));
        answer
    }
}

impl File {
    fn new(name: &str, body: Vec<u8>) -> Self {
        let digest = Sha256::digest(&body);
        let tag: String = digest
            .iter()
            .take(10)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let content_type = match name.ends_with(".map") {
            true => "application/json; charset=utf-8",
            false => "application/javascript; charset=utf-8",
        };
        Self {
            body: body.into(),
            etag: HeaderValue::from_str(&format!("\"{tag}\"")).expect("hex is legal in a header"),
            content_type,
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::{HeaderMap, Method};

    use super::*;
    use crate::http::public::From;

    fn request(path: &str, etag: Option<&str>) -> PublicRequest {
        let mut headers = HeaderMap::new();
        if let Some(etag) = etag {
            headers.insert(IF_NONE_MATCH, etag.parse().unwrap());
        }
        let from = From {
            ip: [127, 0, 0, 1].into(),
            secure: false,
        };
        let (method, path) = (Method::GET, path.to_owned());
        PublicRequest {
            method,
            path,
            headers,
            body: Bytes::new(),
            from,
        }
    }

    #[test]
    fn serves_the_files_that_are_there_and_knows_them_again() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("socket.io.min.js"), "client").unwrap();
        std::fs::write(folder.path().join("socket.io.min.js.map"), "{}").unwrap();
        std::fs::write(folder.path().join("secret.txt"), "no").unwrap();
        let files = ClientFiles::load(folder.path(), "/socket.io/").unwrap();
        assert!(files.has("/socket.io/socket.io.min.js.map"));
        assert!(!files.has("/socket.io/socket.io.js") && !files.has("/socket.io/secret.txt"));

        let first = files.answer(&request("/socket.io/socket.io.min.js", None));
        assert_eq!(first.status(), StatusCode::OK);
        let etag = first.headers()[ETAG].to_str().unwrap().to_owned();
        for known in [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}")] {
            let again = files.answer(&request("/socket.io/socket.io.min.js", Some(&known)));
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{known}");
        }
        let other = files.answer(&request("/socket.io/socket.io.min.js", Some("\"x\"")));
        assert_eq!(other.status(), StatusCode::OK);
    }

    #[test]
    fn a_folder_without_the_client_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = ClientFiles::load(folder.path(), "/socket.io/").unwrap_err();
        assert!(error.to_string().contains("socket.io.js"), "{error}");
    }
}
