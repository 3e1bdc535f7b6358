//! Credentials that are not keys: tokens signed here, and a server that publishes the keys and introspects. It is asked
//! once, so it may share the core of the load.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, EcdsaKeyPair, KeyPair, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// What the caller shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A virtual key.
    Key,
    /// A signed token; `cold` verifies it each time.
    Rs256 {
        cold: bool,
    },
    Es256 {
        cold: bool,
    },
    /// A token that the authorization server is asked about.
    Opaque,
}

/// The opaque token.
const OPAQUE: &str = "an-opaque-token-of-the-benchmark-0123456789";
const AUDIENCE: &str = "https://gateway.example.com";

/// A provider of identities.
pub struct Provider {
    pub port: u16,
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
}

impl Provider {
    /// Publishes two keys and introspects the opaque token as this user's of this team.
    pub fn start() -> Self {
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).expect("an RSA key");
        let ec = EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).expect("an EC key");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let public = rsa.public_key();
        let point = &ec.public_key().as_ref()[1..];
        let keys = json!({"keys": [
            {"kty": "RSA", "kid": "rsa", "n": encode(public.modulus().big_endian_without_leading_zero()),
             "e": encode(public.exponent().big_endian_without_leading_zero())},
            {"kty": "EC", "kid": "ec", "crv": "P-256", "x": encode(&point[..32]), "y": encode(&point[32..])},
        ]});
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream, &keys);
            }
        });
        Provider { port, rsa, ec }
    }

    /// What `general_settings` need for this credential.
    pub fn settings(&self, credential: Credential, settings: &mut Value) {
        let url = |path: &str| json!(format!("http://127.0.0.1:{}{path}", self.port));
        match credential {
            Credential::Key => {}
            Credential::Rs256 { cold } | Credential::Es256 { cold } => {
                settings["enable_jwt_auth"] = json!(true);
                settings["jwt_public_key_url"] = url("/jwks");
                settings["jwt_audience"] = json!(AUDIENCE);
                settings["litellm_jwtauth"] = json!({
                    "user_id_jwt_field": "sub", "team_id_jwt_field": "team", "token_cache_ttl": if cold { 0 } else { 300 },
                });
            }
            Credential::Opaque => {
                settings["enable_oauth2_auth"] = json!(true);
                settings["oauth_token_info_endpoint"] = url("/introspect");
                settings["oauth_client_id"] = json!("bench");
                settings["oauth_client_secret"] = json!("bench-secret");
                settings["oauth_user_team_id_field_name"] = json!("team");
            }
        }
    }

    /// The text the caller shows.
    pub fn text(&self, credential: Credential, key: &str, user: &str, team: &str) -> String {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_secs();
        // About what a provider of identities writes.
        let claims = json!({
            "iss": "https://login.example.com/realms/models", "aud": AUDIENCE, "sub": user, "team": team,
            "iat": now, "nbf": now, "exp": now + 86_400, "jti": "2f9e8f53-13ab-4b17-8b7d-6a9c9e0b7a11",
            "email": "ada@example.com", "preferred_username": "ada", "scope": "openid email models:read models:call",
            "realm_access": {"roles": ["engineer", "default-roles-models"]}, "azp": "workbench",
        });
        match credential {
            Credential::Key => key.to_owned(),
            Credential::Opaque => format!("{OPAQUE}.{team}"),
            Credential::Rs256 { .. } => self.signed("RS256", "rsa", &claims, |text| {
                let mut bytes = vec![0; self.rsa.public_modulus_len()];
                let random = SystemRandom::new();
                self.rsa.sign(&signature::RSA_PKCS1_SHA256, &random, text, &mut bytes).expect("a signature");
                bytes
            }),
            Credential::Es256 { .. } => self.signed("ES256", "ec", &claims, |text| {
                self.ec.sign(&SystemRandom::new(), text).expect("a signature").as_ref().to_vec()
            }),
        }
    }

    fn signed(&self, alg: &str, kid: &str, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
        let header = json!({"alg": alg, "typ": "JWT", "kid": kid});
        let text = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = encode(sign(text.as_bytes()));
        format!("{text}.{signature}")
    }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// One request, one answer.
fn answer(mut stream: TcpStream, keys: &Value) {
    let mut asked = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(read) = stream.read(&mut buffer) {
        asked.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&asked).into_owned();
        let is_whole = text.contains("\r\n\r\n") && (text.starts_with("GET") || text.contains("token="));
        if is_whole || read == 0 {
            break;
        }
    }
    let text = String::from_utf8_lossy(&asked).into_owned();
    let body = if text.starts_with("GET") {
        keys.to_string()
    } else {
        // The token ends in the id of the team.
        let team = text.rsplit_once("token=").map(|(_, form)| form.split('&').next().unwrap_or_default());
        let team = team.and_then(|token| token.rsplit_once('.')).map(|(_, team)| team.to_owned());
        json!({"active": true, "sub": "bench-user", "team": team}).to_string()
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
}
