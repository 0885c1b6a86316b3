//! Vectors A to O, computed once. All but the last two were compared with botocore's results.

use time::OffsetDateTime;
use time::macros::datetime;

use super::{Headers, Received, Rules, Verified, verify};
use crate::appsync_error::AppSyncError;
use crate::options::Key;

pub(super) const HOST: &str = "abcdefghijklmnopqrstuvwxyz.appsync-api.us-east-1.amazonaws.com";
const CUSTOM: &str = "api.example.com";
pub(super) const TOKEN: &str = "AQoDYXdzEXAMPLETOKEN==";
const QUERY: &str = r#"{"query":"query Q { ping }","variables":null}"#;
const START: &str = r#"{"query":"subscription OnMsg { onMsg { id body } }","variables":{}}"#;
const SUBSCRIBE: &str = r#"{"channel":"/default/room-1"}"#;
const PUBLISH: &str = r#"{"channel":"/default/room-1","events":["{\"msg\":\"hi\"}"]}"#;
const ANGLE: &str = r#"{"channel":"/default/room-1","events":["{\"msg\":\"a<b\"}"]}"#;
const ESCAPED: &str = r#"{"channel":"/default/room-1","events":["{\"msg\":\"a\u003cb\"}"]}"#;
const REALTIME: &str = "accept;content-encoding;content-type;host;x-amz-date";

#[derive(Clone)]
pub(super) struct Vector {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) query: &'static str,
    pub(super) host: &'static str,
    pub(super) token: bool,
    /// The signed headers, without the token's.
    pub(super) signed: &'static str,
    pub(super) body: &'static str,
    pub(super) canonical: Option<&'static str>,
    pub(super) signature: &'static str,
}

impl Vector {
    fn post(path: &'static str, signed: &'static str, body: &'static str) -> Self {
        Self {
            method: "POST",
            path,
            query: "",
            host: HOST,
            token: false,
            signed,
            body,
            canonical: None,
            signature: "",
        }
    }

    fn with_token(self) -> Self {
        Self {
            token: true,
            ..self
        }
    }

    fn expecting(self, canonical: Option<&'static str>, signature: &'static str) -> Self {
        Self {
            canonical,
            signature,
            ..self
        }
    }

    pub(super) fn signed_headers(&self) -> String {
        let token = if self.token {
            ";x-amz-security-token"
        } else {
            ""
        };
        format!("{}{token}", self.signed)
    }

    fn authorization(&self) -> String {
        format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260115/us-east-1/appsync/aws4_request, \
             SignedHeaders={}, Signature={}",
            self.signed_headers(),
            self.signature
        )
    }

    pub(super) fn headers(&self) -> Headers {
        let content_type = if self.signed == REALTIME {
            "application/json; charset=UTF-8"
        } else {
            "application/json"
        };
        let mut entries = vec![
            ("Authorization", self.authorization()),
            ("accept", "application/json,  text/javascript".to_owned()),
            ("content-encoding", " amz-1.0 ".to_owned()),
            ("Content-Type", content_type.to_owned()),
            ("host", self.host.to_owned()),
            ("X-Amz-Date", "20260115T120000Z".to_owned()),
            ("x-amz-user-agent", "unsigned".to_owned()),
        ];
        if self.token {
            entries.push(("x-amz-security-token", TOKEN.to_owned()));
        }
        Headers::from_json(
            &entries
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.into()))
                .collect(),
        )
    }

    pub(super) fn inputs(&self) -> Inputs {
        Inputs {
            path: self.path.to_owned(),
            query: self.query.to_owned(),
            body: self.body.to_owned(),
            region: "us-east-1",
            now: datetime!(2026-01-15 12:00:00 UTC),
            keys: vec![Key {
                session_token: self.token.then(|| TOKEN.to_owned()),
                ..Key::demo()
            }],
            expired: false,
        }
    }

    pub(super) fn verify_inputs(
        &self,
        headers: &Headers,
        inputs: &Inputs,
    ) -> Result<Verified, AppSyncError> {
        verify(
            &Received {
                method: self.method,
                path: &inputs.path,
                query: &inputs.query,
                headers,
                body: inputs.body.as_bytes(),
            },
            &Rules {
                region: inputs.region,
                keys: &inputs.keys,
                keys_expired: inputs.expired,
                now: inputs.now,
            },
        )
    }

    pub(super) fn verify_changed(
        &self,
        headers: &Headers,
        change: impl FnOnce(&mut Inputs),
    ) -> Result<Verified, AppSyncError> {
        let mut inputs = self.inputs();
        change(&mut inputs);
        self.verify_inputs(headers, &inputs)
    }
}

pub(super) struct Inputs {
    pub(super) path: String,
    pub(super) query: String,
    pub(super) body: String,
    pub(super) region: &'static str,
    pub(super) now: OffsetDateTime,
    pub(super) keys: Vec<Key>,
    pub(super) expired: bool,
}

#[rustfmt::skip]
pub(super) fn vectors() -> Vec<(&'static str, Vector)> {
    let a = Vector::post("/graphql", "content-type;host;x-amz-date", QUERY);
    let c = Vector { method: "GET", query: "query=query%20Q%20%7B%20ping%20%7D", ..Vector::post("/graphql", "host;x-amz-date", "") };
    let connect = Vector::post("/graphql/connect", REALTIME, "{}");
    let start = Vector::post("/graphql", REALTIME, START);
    vec![
        ("A", a.clone().expecting(Some("3b831251867259c18140d600d847e78b239b65df5d4d037f97866f2c8dbd2b20"), "d3028ebcb3a9ae0a88dc36b072555db2d3c611da383d5c99af42d05254fc4ff3")),
        ("B", a.with_token().expecting(Some("86d6a7a398e65d1453e95c41377f61ee490259fbc91369fd57ed356624a817d5"), "2328ce4784beaff35bad0a2085a9df1d1750a04deac5e4961eac60da6d06aa76")),
        ("C", c.expecting(None, "c7ceb2265a84c6a2cd8e645eadb2f95fa870fc04243c9db6bc38f263e55d2337")),
        ("D", connect.clone().expecting(Some("89114d3684fa8bf838a725663cb7e8e4ebce4923dcaf7aefc5eda5ea345a8e8c"), "9f9fd7ffd7df57eefe38d741869f667a6f1512e6a1aa99aba24a04a4fa9371b4")),
        ("E", connect.clone().with_token().expecting(Some("aaccd09410447c9f2cd4f50308bd306d04a3e15e38bec653fd4f5b7d323df109"), "dfb00624a4f57e96875ed1dc5e9bafdbb1e0a1a1696cd6922af5ea139d2eb365")),
        ("F", Vector { signed: "host;x-amz-date", ..connect.clone() }.expecting(Some("efef51cb9d37b2f8e031771c7b33e7d6d05bfb53fbba152dea8f3638656408b5"), "3d22d7569c32a6e0315c9b41ab99b16b0739111cc3be8e31daf97ecf03884f00")),
        ("G", Vector { host: CUSTOM, ..connect.clone() }.expecting(None, "65f7718b49589608183eb97ef82b209a8ba21cebe16d194f7e40cf908894430d")),
        ("H", start.clone().expecting(Some("f46a2e5e9305e533d2ae65df7c5e3bf385da2d6688b378afa79be6d5ea238022"), "2c9f6c90ddea3166c83bb24e46f761dcc06b0b5553eb439378417e09227af1a9")),
        ("I", start.clone().with_token().expecting(Some("e6b5b44f46571feb7077fe6d19ba3350b1c158a5878d3fded52eaf41d7e9a6da"), "57eb8aee4b79a6ea8202f42807ec88e87fd26405a84cff1e0e57e61466ed90c6")),
        ("J", Vector { host: CUSTOM, ..start }.expecting(None, "ce5cbebf025de2da6a2f2808a44124228153391fb193c5ab79bbfe94f1ef1f18")),
        ("K", Vector { path: "/event", ..connect }.expecting(Some("01360b218047bd6b1f19057fd00c0e882d9ace9339ea265e0b8b2e390a90ec5a"), "356c9ecc765649523934e2a80dfcccaaf788db6c0fe96a6cf55c9f2300846dd4")),
        ("L", Vector::post("/event", REALTIME, SUBSCRIBE).expecting(Some("f38869f3026904af1e61f1c3d468129b73e3021c566916fc3896e12f43c4a4b4"), "b4c19b5d48cb42c90b82006fe7e3d82626548eac814d0cd6d3ae07cc02815793")),
        ("M", Vector::post("/event", REALTIME, PUBLISH).expecting(Some("faa38ff1561f36d752796494cb40340a908356e4e83003d165a17e6c41b89c49"), "1f39e9520a2465aa3fe014119b28c2e58671924745b63230169bb3b7169bd7e5")),
        ("N", Vector::post("/event", REALTIME, ANGLE).expecting(None, "5b8b0b776e7c8ced49ff3e0267dc8401879e551860f1b06067175b28436386c3")),
        ("O", Vector::post("/event", REALTIME, ESCAPED).expecting(None, "7dcdb471a4eec8f689b2ed170c40672f408ebdcbb50d3ac2539a3df17676796b")),
    ]
}
