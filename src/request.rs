//! What is asked: one request as Envoy describes it, read once. Everything here borrows from the Check's bytes; nothing
//! here knows who calls.

mod alike;
pub mod body;
pub mod cookie;
pub mod credential;
pub mod encoding;
pub mod end_user;
mod model;
mod path;
mod query;
mod read;
mod rest;
pub mod rewrite;
mod route;
mod stream;
pub mod subprotocol;
mod tags;

use std::borrow::Cow;
use std::net::IpAddr;

pub use alike::{begins_alike, is_alike};
pub use credential::{CREDENTIAL_HEADERS, CredentialSettings};
pub use end_user::EndUserSettings;
pub use path::without_keys;
pub use read::ReadSettings;
pub use rest::Rest;
pub use rewrite::{RewriteAsk, rewrite};

use crate::domain::{Api, Denial, PromptSize};

/// One HTTP request, borrowed from the bytes of the Check that describes it.
#[derive(Clone, Debug)]
pub struct HttpRequest<'a> {
    pub method: &'a str,
    /// `:path` as received, with its query.
    pub path: &'a str,
    pub headers: Headers<'a>,
    /// The body, where Envoy sent one (`with_request_body`).
    pub body: Option<&'a [u8]>,
    /// `source.address`: the peer of Envoy's downstream connection.
    pub source: Option<IpAddr>,
    /// `source.principal`: the verified peer certificate's SAN or subject.
    pub source_principal: &'a str,
    /// `context_extensions` of the route.
    pub extensions: Vec<(&'a str, &'a str)>,
    /// The Envoy that asks: the peer address of its gRPC connection to us.
    pub gateway: IpAddr,
}

/// Header fields in order. Names are lower case; values are bytes, since Envoy passes on what is not UTF-8. A `Vec`, as
/// `SmallVec` is invariant in what it holds, and a view must be able to borrow from a request shorter than its bytes live.
#[derive(Clone, Debug, Default)]
pub struct Headers<'a>(pub Vec<(&'a str, &'a [u8])>);

impl<'a> Headers<'a> {
    /// The first field of this (lower-case) name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.0.iter().find(|(field, _)| *field == name).map(|(_, value)| *value)
    }

    /// The first field of this name, where it is UTF-8.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// All fields of this name, in order.
    pub fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a [u8]> + Clone + 's {
        self.0.iter().filter(move |(field, _)| *field == name).map(|(_, value)| *value)
    }
}

/// A credential and where it was found, so that it can be removed from what goes upstream.
#[derive(Clone, Debug)]
pub struct Credential<'a> {
    pub secret: Cow<'a, str>,
    pub source: CredentialSource<'a>,
}

/// Where a credential stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialSource<'a> {
    Header(Cow<'a, str>),
    /// `?key=` of Google's API.
    Query,
    /// An item of `sec-websocket-protocol`.
    WebSocketProtocol,
    /// The cookie of this name.
    Cookie(Cow<'a, str>),
}

impl std::fmt::Display for CredentialSource<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CredentialSource::Header(name) => write!(f, "the header {name}"),
            CredentialSource::Query => f.write_str("the query parameter key"),
            CredentialSource::WebSocketProtocol => f.write_str("the header sec-websocket-protocol"),
            CredentialSource::Cookie(name) => write!(f, "the cookie {name}"),
        }
    }
}

/// What the credential reader found.
#[derive(Clone, Debug)]
pub enum CredentialRead<'a> {
    Missing,
    /// A source was present and first in order, but its value is not of a form that holds a key.
    Malformed {
        source: CredentialSource<'a>,
    },
    Found(Credential<'a>),
}

/// Where a request goes, from method and path alone.
#[derive(Clone, Debug)]
pub struct Route<'a> {
    /// Percent-decoded once, dot segments and repeated slashes resolved.
    pub path: Cow<'a, str>,
    /// The query, undecoded, without `?`.
    pub query: &'a str,
    pub api: Api,
    pub is_websocket: bool,
    /// The model the path names.
    pub model: Option<Cow<'a, str>>,
}

/// What a body says, read by a scanner over its bytes; values that nobody asks for are skipped.
#[derive(Clone, Debug)]
pub struct BodyView<'a> {
    /// `model`; a comma-separated list is kept as it is.
    pub model: Option<Cow<'a, str>>,
    /// Further names of models: `target_model_names`, `session.model`, `completion.model`.
    pub other_models: Vec<Cow<'a, str>>,
    /// Models of `fallbacks`, `context_window_fallbacks`, `content_policy_fallbacks`.
    pub fallback_models: Vec<Cow<'a, str>>,
    /// Models that do a part of the work beside the one that answers: of `tools` (an adviser, a maker of images), and of
    /// the requests of a batch.
    pub helper_models: Vec<Cow<'a, str>>,
    pub stream: Option<bool>,
    /// The largest of `max_tokens`, `max_completion_tokens`, `max_output_tokens`, `maxOutputTokens`,
    /// `inferenceConfig.maxTokens` …; `None` where none of those the API obeys is given, or one of them bounds nothing
    /// (is negative or no number). Fractions are rounded up.
    pub max_tokens: Option<u64>,
    /// The largest of `n`, `best_of`, `candidateCount`; 1 where none is given.
    pub choices: u64,
    /// Prompts of a completion, each of which is answered; 1 elsewhere.
    pub prompts: u64,
    /// End-user candidates, in the order of precedence: `user`, `litellm_metadata.user`, `metadata.user_id`,
    /// `safety_identifier`.
    pub end_user: Option<Cow<'a, str>>,
    /// `metadata.tags`, `litellm_metadata.tags`, then `tags`.
    pub tags: Vec<Cow<'a, str>>,
    pub service_tier: Option<Cow<'a, str>>,
    /// Whether `speed` asks for fast answers.
    pub is_fast: bool,
    /// Image generation: `n` is in `choices`; `size` and `quality` as given, empty where readers may differ about them.
    pub image_size: Option<Cow<'a, str>>,
    pub image_quality: Option<Cow<'a, str>>,
    /// The first parameter found that clients may not send (destinations, credentials, prices).
    pub banned: Option<Cow<'a, str>>,
    /// Names of all top-level keys, for `enforced_params`.
    pub keys: Vec<Cow<'a, str>>,
    pub prompt: PromptSize,
}

/// A request, read.
#[derive(Clone, Debug)]
pub struct RequestView<'a> {
    pub http: &'a HttpRequest<'a>,
    pub route: Route<'a>,
    pub credential: CredentialRead<'a>,
    /// The body, or why it is refused; raised only after the caller is known, so that strangers learn nothing.
    pub body: Result<BodyView<'a>, Denial>,
    /// The model asked for, all sources agreeing; `None` where the request names none. Raised like the body.
    pub model: Result<Option<Cow<'a, str>>, Denial>,
}

impl Default for BodyView<'_> {
    /// What an absent body says.
    fn default() -> Self {
        BodyView {
            model: None,
            other_models: Vec::new(),
            fallback_models: Vec::new(),
            helper_models: Vec::new(),
            stream: None,
            max_tokens: None,
            choices: 1,
            prompts: 1,
            end_user: None,
            tags: Vec::new(),
            service_tier: None,
            is_fast: false,
            image_size: None,
            image_quality: None,
            banned: None,
            keys: Vec::new(),
            prompt: PromptSize::default(),
        }
    }
}

impl BodyView<'_> {
    /// The same, independent of the bytes it was read from.
    #[must_use]
    pub fn into_owned(self) -> BodyView<'static> {
        BodyView {
            model: self.model.map(owned),
            other_models: self.other_models.into_iter().map(owned).collect(),
            fallback_models: self.fallback_models.into_iter().map(owned).collect(),
            helper_models: self.helper_models.into_iter().map(owned).collect(),
            stream: self.stream,
            max_tokens: self.max_tokens,
            choices: self.choices,
            prompts: self.prompts,
            end_user: self.end_user.map(owned),
            tags: self.tags.into_iter().map(owned).collect(),
            service_tier: self.service_tier.map(owned),
            is_fast: self.is_fast,
            image_size: self.image_size.map(owned),
            image_quality: self.image_quality.map(owned),
            banned: self.banned.map(owned),
            keys: self.keys.into_iter().map(owned).collect(),
            prompt: self.prompt,
        }
    }
}

fn owned(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}
