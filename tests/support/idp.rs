//! A real identity provider: Node's certified `oidc-provider` on a free port. Beside the provider's own endpoints, a
//! test mints tokens of any shape, rotates keys, switches faults, and sees what was requested (`tests/idp/server.mjs`).

use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::child::Child;
use super::folder::Folder;
use super::wait::eventually_blocking;
use super::{port, raw};

#[path = "idp/kinds.rs"]
mod kinds;

pub use kinds::{ASSERTER, Client, Fault, GATEWAY, POSTER, PUBLIC, Signing};

/// The audience of tokens that name no other.
pub const AUDIENCE: &str = "https://gateway.example";

/// One provider; it ends with the test process, or when it is dropped.
pub struct Idp {
    // Before its folder: fields are dropped in this order.
    child: Child,
    folder: Folder,
    issuer: String,
    port: u16,
    control: u16,
}

impl Idp {
    /// Starts a provider; its endpoints answer. Its key ids are like no other provider's.
    pub fn start() -> Idp {
        Idp::start_with(json!({}))
    }

    /// The same with settings of `tests/idp/server.mjs`: `kid` (what key ids begin with; two providers with one `kid`
    /// have the same ids for different keys), `issuer`.
    pub fn start_with(mut settings: Value) -> Idp {
        let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/idp");
        assert!(packages.join("node_modules").is_dir(), "the identity provider is not there: `make setup` installs it");
        let clients = [GATEWAY, POSTER, ASSERTER, PUBLIC].map(|client| {
            let mut metadata = json!({"client_id": client.id, "token_endpoint_auth_method": client.method});
            if !client.secret.is_empty() {
                metadata["client_secret"] = json!(client.secret);
            }
            if client.method == "none" {
                metadata["grant_types"] = json!([]);
            }
            metadata
        });
        settings["clients"] = json!(clients);
        settings["audience"] = json!(AUDIENCE);
        settings["packages"] = json!(packages);
        // Another process may take a port between the moment it was free and this server's start.
        for _ in 0..5 {
            settings["port"] = json!(port::free());
            match Idp::run(&settings) {
                Ok(idp) => return idp,
                Err(log) => assert!(log.contains("EADDRINUSE"), "the identity provider ended:\n{log}"),
            }
        }
        panic!("the identity provider finds its port in use again and again");
    }

    /// Starts the process and waits until it says that it listens; its log where it ends instead.
    fn run(settings: &Value) -> Result<Idp, String> {
        let folder = Folder::in_memory();
        let server = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/idp/server.mjs");
        let arguments = [&server.to_string_lossy(), &*settings.to_string()];
        let child = Child::start("idp", Path::new("node"), &arguments, &[], folder.path().join("log"));
        let told = eventually_blocking("the identity provider listens", || {
            let (runs, log) = (child.runs(), child.log());
            let told = log.split_inclusive('\n').find(|line| line.starts_with("{\"issuer\"") && line.ends_with('\n'));
            match told {
                Some(line) => Ok(Ok(serde_json::from_str::<Value>(line).expect("a line of JSON"))),
                None if runs => Err(log),
                None => Ok(Err(log)),
            }
        })?;
        let port = |name: &str| told[name].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
        let issuer = told["issuer"].as_str().expect("an issuer").to_owned();
        Ok(Idp { issuer, port: port("port"), control: port("control"), child, folder })
    }

    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it serves this path, which begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn discovery_url(&self) -> String {
        self.url("/.well-known/openid-configuration")
    }

    pub fn jwks_url(&self) -> String {
        self.url("/jwks")
    }

    pub fn token_url(&self) -> String {
        self.url("/token")
    }

    pub fn introspection_url(&self) -> String {
        self.url("/introspection")
    }

    pub fn userinfo_url(&self) -> String {
        self.url("/userinfo")
    }

    // --- tokens

    /// A JWT with these claims, signed RS256. Without them it is a good one: `iss`, `sub` (`user-1`), `aud`
    /// ([`AUDIENCE`]), `iat`, `exp` in ten minutes; null removes a claim.
    pub fn sign(&self, claims: Value) -> String {
        self.sign_with(Signing::default(), claims)
    }

    #[allow(clippy::needless_pass_by_value, reason = "how it is signed is written where it is used")]
    pub fn sign_with(&self, signing: Signing, claims: Value) -> String {
        let mut asked = json!(signing);
        asked["claims"] = claims;
        text(self.command("sign", &asked))
    }

    /// An opaque access token. Attributes: `account` (`user-1`; null for a token of the client alone), `claims` of that
    /// account at userinfo, `scope` (`openid`), `client` ([`GATEWAY`]), `audience` (none: userinfo refuses a token that
    /// has one), `ttl` in seconds (600; below zero for one that is over), `extra` members of what introspection says.
    pub fn opaque(&self, mut attributes: Value) -> String {
        if attributes.get("client").is_none() {
            attributes["client"] = json!(GATEWAY.id);
        }
        text(self.command("opaque", &attributes))
    }

    /// Ends an opaque token.
    pub fn revoke(&self, token: &str) {
        assert_eq!(self.command("revoke", &json!({"token": token})), json!(true), "there is such a token");
    }

    /// The access token that the client gets for itself. Resources: `urn:models:ALG` (a JWT signed RS256, PS256, ES256,
    /// EdDSA), `urn:models:opaque`; scopes: `models:read`, `models:call`, `admin`, with spaces between.
    pub fn client_credentials(&self, client: &Client, resource: &str, scope: &str) -> String {
        let form = format!("grant_type=client_credentials&resource={resource}&scope={}", scope.replace(' ', "+"));
        let (status, answer) = self.post_as(client, "/token", &form);
        assert_eq!(status, 200, "a token for {}: {}", client.id, answer["error_description"]);
        text(answer["access_token"].clone())
    }

    /// Claims of the tokens that the client gets for itself.
    pub fn client_claims(&self, client: &Client, claims: Value) {
        let mut asked = json!({"client": client.id});
        asked["claims"] = claims;
        self.command("client_claims", &asked);
    }

    /// Posts a form as this client; status and answer.
    pub fn post_as(&self, client: &Client, path: &str, form: &str) -> (u16, Value) {
        let (mut form, mut headers) = (form.to_owned(), String::new());
        match client.method {
            "client_secret_basic" => {
                let pair = STANDARD.encode(format!("{}:{}", client.id, client.secret));
                headers = format!("authorization: Basic {pair}\r\n");
            }
            "client_secret_post" => form += &format!("&client_id={}&client_secret={}", client.id, client.secret),
            "private_key_jwt" => {
                let assertion = text(self.command("assertion", &json!({"client": client.id, "alg": "RS256"})));
                form += "&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
                form += &format!("&client_assertion={assertion}");
            }
            _ => form += &format!("&client_id={}", client.id),
        }
        headers += "content-type: application/x-www-form-urlencoded\r\n";
        post(self.port, path, &headers, &form).expect("the identity provider answers")
    }

    // --- keys

    /// Replaces every signing key; with `keep_old` the JWKS shows the old ones still. The id of the new RSA key.
    pub fn rotate(&self, keep_old: bool) -> String {
        text(self.command("rotate", &json!({"keep_old": keep_old})))
    }

    /// Every key there has been, newest first: `kid`, `alg` (not of RSA), `published`, `pem`, `private_pem`.
    pub fn keys(&self) -> Vec<Value> {
        self.command("keys", &json!({})).as_array().expect("a list").clone()
    }

    /// The public keys of the JWKS as a map of PEM by key id.
    pub fn pems(&self) -> Value {
        let shown = self.keys().into_iter().filter(|key| key["published"] == json!(true));
        shown.map(|key| (text(key["kid"].clone()), key["pem"].clone())).collect::<serde_json::Map<_, _>>().into()
    }

    /// The private key (PKCS#8, PEM) with which [`ASSERTER`] signs RS256, ES256 or EdDSA; its id is `client-ALG`.
    pub fn client_key(&self, alg: &str) -> String {
        text(self.command("client_key", &json!({"alg": alg})))
    }

    // --- what is answered and what was asked

    /// Makes an endpoint (`discovery`, `jwks`, `token`, `introspection`, `userinfo`, `revocation`, a path of
    /// [`Idp::serve`], or `all`) fail so until [`Idp::clear_faults`].
    #[allow(clippy::needless_pass_by_value, reason = "a fault is written where it is used")]
    pub fn fault(&self, endpoint: &str, fault: Fault) {
        self.command("fault", &json!({"endpoint": endpoint, "fault": fault}));
    }

    /// Ends every fault; what hangs is answered.
    pub fn clear_faults(&self) {
        self.command("clear_faults", &json!({}));
    }

    /// Serves this body on a path of its own, or of an endpoint in its place.
    pub fn serve(&self, path: &str, content_type: &str, body: &str) {
        self.command("serve", &json!({"path": path, "type": content_type, "body": body}));
    }

    /// Requests to an endpoint or a path of [`Idp::serve`] since the start or [`Idp::forget`].
    pub fn count(&self, endpoint: &str) -> u64 {
        self.command("counts", &json!({}))[endpoint].as_u64().unwrap_or(0)
    }

    /// The last of them: `method`, `path`, `headers`; where [`Idp::serve`] answers, `body` too.
    pub fn requests(&self, endpoint: &str) -> Vec<Value> {
        self.command("requests", &json!({"endpoint": endpoint})).as_array().expect("a list").clone()
    }

    /// Forgets what was requested.
    pub fn forget(&self) {
        self.command("forget", &json!({}));
    }

    /// Nobody listens on its port any more, and its connections are cut.
    pub fn unplug(&self) {
        self.command("close", &json!({}));
    }

    /// It listens again, after [`Idp::unplug`], and knows what it knew.
    pub fn plug_in(&self) {
        self.command("listen", &json!({}));
    }

    fn command(&self, name: &str, asked: &Value) -> Value {
        let answer = post(self.control, &format!("/{name}"), "content-type: application/json\r\n", &asked.to_string());
        let (status, answer) = answer.expect("the control port answers");
        assert_eq!(status, 200, "{answer}");
        answer
    }
}

fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        _ => panic!("the identity provider answers with a text"),
    }
}

/// Posts, with these header lines; status and JSON of the answer.
fn post(port: u16, path: &str, headers: &str, body: &str) -> io::Result<(u16, Value)> {
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n{headers}");
    let answer = raw::exchange(port, format!("{head}content-length: {length}\r\n\r\n{body}").as_bytes())?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((raw::status(&answer), serde_json::from_str(body).unwrap_or(Value::Null)))
}
