//! Reading one request as a whole. Only a path that cannot be read is an error at once; what is wrong with body or
//! model is kept until the caller is known, so that strangers learn nothing.

use std::borrow::Cow;

use super::body::{self, Extent};
use super::credential::{self, CredentialSettings};
use super::{BodyView, EndUserSettings, HttpRequest, RequestView, Route, encoding, is_alike, model};
use crate::config::{Config, PartialBody};
use crate::domain::{Api, Denial, ErrorType, PromptSize};

/// Set by Envoy on every Check whose body it cut off; client copies are dropped.
const PARTIAL_BODY: &str = "x-envoy-auth-partial-body";

/// Fields by which some servers let a request choose another method than its own.
const METHOD_OVERRIDES: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];

/// How requests are read.
#[derive(Clone, Debug)]
pub struct ReadSettings {
    /// What the paths of the APIs stand below; empty is the root.
    pub root_path: String,
    pub credential: CredentialSettings,
    pub end_user: EndUserSettings,
    pub partial_body: PartialBody,
    /// How deep JSON may be nested.
    pub max_json_depth: usize,
    /// Bytes a compressed body is decoded to at most.
    pub max_decoded_body: usize,
    /// Bytes a body may have, by its own length and by `content-length`.
    pub max_body: Option<u64>,
}

impl ReadSettings {
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let general = &config.general_settings;
        let mut headers: Vec<String> = general
            .user_header_mappings
            .iter()
            .filter(|mapping| mapping.litellm_user_role == "customer")
            .map(|mapping| mapping.header_name.to_ascii_lowercase())
            .collect();
        if headers.is_empty() {
            headers.extend(general.user_header_name.as_ref().map(|name| name.to_ascii_lowercase()));
        }
        // A float turned into an integer saturates.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let max_body = general.max_request_size_mb.map(|megabytes| (megabytes * 1024.0 * 1024.0) as u64);
        ReadSettings {
            root_path: config.request.root_path.clone(),
            credential: CredentialSettings {
                key_header_name: general.litellm_key_header_name.as_ref().map(|name| name.to_ascii_lowercase()),
                session_cookie: config.identity.session.enabled.then(|| config.identity.session.cookie.clone()),
            },
            end_user: EndUserSettings { headers },
            partial_body: config.request.partial_body,
            max_json_depth: config.request.max_json_depth,
            max_decoded_body: config.request.max_decoded_body,
            max_body,
        }
    }
}

/// How the bytes of a body are to be understood.
enum Format<'a> {
    Json,
    Urlencoded,
    Multipart(&'a str),
    /// Not read: audio, documents, whatever an API that is not ours takes.
    Opaque(&'a str),
}

impl<'a> RequestView<'a> {
    /// Reads a request.
    ///
    /// # Errors
    /// 400 where the path has more than one reading.
    pub fn read(http: &'a HttpRequest<'a>, settings: &ReadSettings) -> Result<Self, Denial> {
        let mut route = Route::read_below(&settings.root_path, http.method, http.path)?;
        route.is_websocket = is_websocket(http);
        // Frames are not seen here, and a method that another replaces says nothing.
        if route.api.is_model_route()
            && (route.is_websocket || http.method == "CONNECT" || (http.overrides_method() && route.api == Api::Free))
        {
            route.api = Api::Unmeterable;
        }
        let credential = credential::read(http, &route, &settings.credential);
        let body = read_body(http, &route, settings);
        let model = model::read(http, &route, body.as_ref().ok());
        Ok(RequestView { http, route, credential, body, model })
    }

    /// Whether the object `object` of the body holds this member. The body is read a second time, decoded as it was.
    #[must_use]
    pub fn holds_member(&self, settings: &ReadSettings, object: &str, member: &str) -> bool {
        let bytes = self.http.body.unwrap_or_default();
        let decode = |encodings: Cow<'_, str>| encoding::decode(bytes, &encodings, settings.max_decoded_body);
        let Ok(decoded) = content_encodings(self.http).and_then(decode) else { return false };
        let bytes = decoded.as_deref().unwrap_or(bytes);
        match format(self.http, self.route.api, bytes) {
            Ok(Format::Json) => std::str::from_utf8(bytes).is_ok_and(|text| body::holds_member(text, object, member)),
            Ok(Format::Urlencoded) => body::urlencoded_holds(bytes, object, member),
            Ok(Format::Multipart(content_type)) => body::multipart_holds(bytes, content_type, object, member),
            Ok(Format::Opaque(_)) | Err(_) => false,
        }
    }
}

impl HttpRequest<'_> {
    /// Whether it asks for another method than its own, or a server may read it so.
    #[must_use]
    pub fn overrides_method(&self) -> bool {
        let names = || self.headers.0.iter().map(|(name, _)| *name);
        names().any(|name| METHOD_OVERRIDES.iter().any(|known| is_alike(known, name)))
    }
}

fn is_websocket(http: &HttpRequest<'_>) -> bool {
    let is = |value: Option<&[u8]>| value.is_some_and(|value| value.trim_ascii().eq_ignore_ascii_case(b"websocket"));
    // The second is HTTP/2's form (RFC 8441), which Envoy turns into the first.
    is(http.headers.get("upgrade")) || is(http.headers.get(":protocol"))
}

fn read_body<'a>(
    http: &'a HttpRequest<'a>,
    route: &Route<'a>,
    settings: &ReadSettings,
) -> Result<BodyView<'a>, Denial> {
    let bytes = http.body.unwrap_or_default();
    bound(http, bytes, settings)?;
    let is_cut = http.headers.all(PARTIAL_BODY).any(|value| value.trim_ascii().eq_ignore_ascii_case(b"true"));
    if is_cut && settings.partial_body == PartialBody::Deny {
        return Err(cut());
    }
    // A socket is opened with GET (RFC 6455, section 4.1). Envoy shows no body of a request that says it opens one, and a
    // server that has no socket there may read it.
    let opens = matches!(http.method, "GET" | "CONNECT");
    if route.is_websocket && !opens && bytes.is_empty() && route.api.is_model_route() {
        return Err(unreadable("A WebSocket is opened with GET; the body of this request cannot be seen."));
    }
    if bytes.is_empty() && !is_cut {
        return Ok(BodyView::default());
    }
    let encodings = content_encodings(http)?;
    let is_encoded = encodings.split(',').any(|name| !matches!(name.trim(), "" | "identity"));
    if route.api == Api::NotModel {
        // Not ours to understand.
        return Ok(opaque("", bytes));
    }
    let extent = if is_cut { Extent::Cut } else { Extent::Whole };
    if is_cut && is_encoded {
        return Err(cut());
    }
    if is_encoded && let Some(decoded) = encoding::decode(bytes, &encodings, settings.max_decoded_body)? {
        return read_as(http, route.api, &decoded, extent, settings.max_json_depth).map(BodyView::into_owned);
    }
    read_as(http, route.api, bytes, extent, settings.max_json_depth)
}

/// The codings of a body, joined by commas; empty where there is none.
fn content_encodings<'a>(http: &HttpRequest<'a>) -> Result<Cow<'a, str>, Denial> {
    let unread = |_| unreadable("The content encoding cannot be read.");
    let mut fields = http.headers.all("content-encoding");
    let mut encodings = match fields.next() {
        Some(first) => Cow::Borrowed(std::str::from_utf8(first).map_err(unread)?),
        None => return Ok(Cow::Borrowed("")),
    };
    for field in fields {
        let field = std::str::from_utf8(field).map_err(unread)?;
        encodings = Cow::Owned(format!("{encodings},{field}"));
    }
    Ok(encodings)
}

fn read_as<'b>(
    http: &HttpRequest<'_>,
    api: Api,
    bytes: &'b [u8],
    extent: Extent,
    max_depth: usize,
) -> Result<BodyView<'b>, Denial> {
    let result = match format(http, api, bytes)? {
        Format::Json => body::json(bytes, api, max_depth, extent),
        // Neither a form nor what is not read can be told to have named its model before the cut.
        _ if extent == Extent::Cut => return Err(cut()),
        Format::Urlencoded => body::urlencoded(bytes, api, max_depth),
        Format::Multipart(content_type) => body::multipart(bytes, content_type, api, max_depth),
        Format::Opaque(media) => return Ok(opaque(media, bytes)),
    };
    match result {
        Err(body::Fault::Cut) if extent == Extent::Cut => Err(cut()),
        result => result.map_err(body::Fault::denial),
    }
}

fn format<'h>(http: &HttpRequest<'h>, api: Api, bytes: &[u8]) -> Result<Format<'h>, Denial> {
    let mut values = http.headers.all("content-type").map(<[u8]>::trim_ascii);
    let first = values.next().unwrap_or_default();
    if values.any(|other| other != first) {
        return Err(unreadable("The request has two content types."));
    }
    let content_type =
        std::str::from_utf8(first).map_err(|_| unreadable("The content type of the request cannot be read."))?;
    let media = content_type.split(';').next().unwrap_or_default().trim();
    let is = |name: &str| media.eq_ignore_ascii_case(name);
    let looks_like_json = matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'['));
    Ok(if media.is_empty() || is("application/json") || is("text/json") || ends_with(media, "+json") {
        Format::Json
    } else if is("multipart/form-data") {
        Format::Multipart(content_type)
    } else if is("application/x-www-form-urlencoded") {
        Format::Urlencoded
    } else if takes_json(api) || (api.is_billable() && looks_like_json) {
        // Servers read JSON whatever the content type says.
        Format::Json
    } else {
        Format::Opaque(media)
    })
}

fn ends_with(text: &str, suffix: &str) -> bool {
    let at = text.len().saturating_sub(suffix.len());
    text.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
}

/// APIs whose bodies are JSON and nothing else.
fn takes_json(api: Api) -> bool {
    match api {
        Api::OpenAiChat
        | Api::OpenAiCompletions
        | Api::OpenAiResponses
        | Api::OpenAiEmbeddings
        | Api::OpenAiSpeech
        | Api::OpenAiModeration
        | Api::OpenAiRerank
        | Api::AnthropicMessages
        | Api::GeminiGenerate
        | Api::GeminiEmbed
        | Api::BedrockConverse
        | Api::BedrockInvoke => true,
        Api::OpenAiImages | Api::OpenAiTranscription | Api::Ocr | Api::Free | Api::Unmeterable | Api::NotModel => false,
    }
}

/// The view of a body that is not read: its size only.
fn opaque(media: &str, bytes: &[u8]) -> BodyView<'static> {
    let body_bytes = bytes.len() as u64;
    let mut prompt = PromptSize { body_bytes, ..PromptSize::default() };
    let family = media.split('/').next().unwrap_or_default().to_ascii_lowercase();
    if family != "text" {
        prompt.media_bytes = body_bytes;
    }
    match family.as_str() {
        "audio" | "video" => prompt.audio_bytes = body_bytes,
        "image" => prompt.images = 1,
        "text" => prompt.text_bytes = body_bytes,
        _ => prompt.file_bytes = body_bytes,
    }
    BodyView { prompt, ..BodyView::default() }
}

/// The operator's bound on bodies.
fn bound(http: &HttpRequest<'_>, bytes: &[u8], settings: &ReadSettings) -> Result<(), Denial> {
    let Some(max) = settings.max_body else { return Ok(()) };
    let announced = http.headers.text("content-length").and_then(|value| value.trim().parse::<u64>().ok());
    if announced.unwrap_or(0).max(bytes.len() as u64) <= max {
        return Ok(());
    }
    let message = format!("The request body is larger than {max} bytes.");
    Err(Denial::new(ErrorType::BadRequest, "body.too_large", message).param("content-length"))
}

fn cut() -> Denial {
    let message = "The request body is larger than the gate is shown.";
    Denial::new(ErrorType::RequestTooLarge, "body.partial", message).param("request_body")
}

fn unreadable(message: impl Into<Cow<'static, str>>) -> Denial {
    Denial::new(ErrorType::BadRequest, "body.headers", message.into()).param("request_body")
}

#[cfg(test)]
mod tests;
