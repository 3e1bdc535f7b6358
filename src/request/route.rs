//! What a path asks for, from method and path alone; `Host` is never read. A path of an AI model whose usage nobody can
//! read is called unmeterable, never free.

use std::borrow::Cow;

use super::{Route, path};
use crate::domain::{Api, Denial, ErrorType};

/// Prefixes under which a provider's own API is passed through; what follows is read as that API.
const PASS_THROUGH: &[&str] = &[
    "anthropic",
    "assemblyai",
    "azure",
    "azure_ai",
    "azure_speech",
    "backend-api/codex",
    "bedrock",
    "bespoke",
    "claude_code_gateway",
    "cohere",
    "comprehendmedical",
    "cursor",
    "deepgram",
    "eu.assemblyai",
    "fal_ai",
    "gemini",
    "gigachat",
    "langfuse",
    "laya",
    "milvus",
    "mistral",
    "nvidia_nim",
    "openai",
    "openai_passthrough",
    "openrouter",
    "tinyfish",
    "transcribe",
    "typesafe",
    "vertex-ai",
    "vertex_ai",
    "vllm",
    "watsonx",
];

/// Versions an API path may begin with.
const VERSIONS: &[&str] = &["v1", "v1beta", "v1alpha", "v1beta1", "v2", "v3"];

/// Operations that generate, by their path behind the version. Longer ones stand before those they end with.
const OPERATIONS: &[(&str, Api)] = &[
    ("chat/completions", Api::OpenAiChat),
    ("completions", Api::OpenAiCompletions),
    ("responses", Api::OpenAiResponses),
    ("embeddings", Api::OpenAiEmbeddings),
    ("images/generations", Api::OpenAiImages),
    ("images/edits", Api::OpenAiImages),
    ("images/variations", Api::OpenAiImages),
    ("audio/transcriptions", Api::OpenAiTranscription),
    ("audio/translations", Api::OpenAiTranscription),
    ("audio/speech", Api::OpenAiSpeech),
    ("moderations", Api::OpenAiModeration),
    ("rerank", Api::OpenAiRerank),
    ("messages", Api::AnthropicMessages),
    ("ocr", Api::Ocr),
];

/// Operations that count or look up, though they are sent with POST.
const FREE: &[&str] = &["messages/count_tokens", "responses/input_tokens"];

/// Collections of model APIs, by their first segment. Reading and deleting in them is free, anything else is not known
/// to be.
const COLLECTIONS: &[&str] = &[
    "a2a",
    "agents",
    "assistants",
    "async-invoke",
    "audio",
    "batches",
    "cachedContents",
    "chat",
    "complete",
    "completions",
    "containers",
    "conversations",
    "corpora",
    "decisions",
    "deployments",
    "edits",
    "embeddings",
    "engines",
    "evals",
    "extraction",
    "files",
    "fine-tunes",
    "fine_tuning",
    "images",
    "interactions",
    "live",
    "messages",
    "model-customization-jobs",
    "model-invocation-jobs",
    "models",
    "moderations",
    "ocr",
    "projects",
    "publishers",
    "rag",
    "realtime",
    "rerank",
    "responses",
    "search",
    "skills",
    "systemone",
    "threads",
    "tunedModels",
    "uploads",
    "utils",
    "vector_stores",
    "videos",
];

/// Collections of stored objects: writing to them generates nothing.
const STORED: &[&str] = &["assistants", "conversations", "files", "skills", "threads", "uploads", "utils"];

impl<'a> Route<'a> {
    /// Reads where a request goes. Whether it opens a WebSocket its headers say, which are not read here.
    ///
    /// # Errors
    /// 400 where the path has more than one reading.
    pub fn read(method: &str, path_and_query: &'a str) -> Result<Self, Denial> {
        Route::read_below("", method, path_and_query)
    }

    /// The same at a gateway that serves its APIs below `root`, as in `/genai`: a path below it is read without it.
    ///
    /// # Errors
    /// 400 where the path has more than one reading.
    pub fn read_below(root: &str, method: &str, path_and_query: &'a str) -> Result<Self, Denial> {
        let (path, query) = path::normalise(path_and_query).map_err(|what| {
            Denial::new(ErrorType::BadRequest, "request.path", format!("The path cannot be read: {what}."))
                .param("path")
        })?;
        let path = match path {
            Cow::Borrowed(path) => Cow::Borrowed(path::without(root, path)),
            Cow::Owned(path) => match path::without(root, &path) {
                rest if rest.len() < path.len() => Cow::Owned(rest.to_owned()),
                _ => Cow::Owned(path),
            },
        };
        let (api, model) = match &path {
            Cow::Borrowed(path) => {
                let (api, model) = classify(root, method, path);
                (api, model.map(Cow::Borrowed))
            }
            Cow::Owned(path) => {
                let (api, model) = classify(root, method, path);
                (api, model.map(|model| Cow::Owned(model.to_owned())))
            }
        };
        Ok(Route { path, query, api, is_websocket: false, model })
    }
}

type Found<'p> = (Api, Option<&'p str>);

const NOT_MODEL: Found<'static> = (Api::NotModel, None);

fn classify<'p>(root: &str, method: &str, path: &'p str) -> Found<'p> {
    let path = path.trim_matches('/');
    let found = known(method, path);
    if found.0 != Api::NotModel {
        return found;
    }
    // Some servers ignore case. What they would take for a model path is not free.
    let folded = path.to_ascii_lowercase();
    let root = root.trim_matches('/').to_ascii_lowercase();
    let beneath = if root.is_empty() { None } else { below(&folded, &root) };
    let is_model = |path: &str| known("POST", path).0.is_model_route();
    if is_model(&folded) || beneath.is_some_and(is_model) { (Api::Unmeterable, None) } else { NOT_MODEL }
}

fn known<'p>(method: &str, path: &'p str) -> Found<'p> {
    let Some(rest) = PASS_THROUGH.iter().find_map(|prefix| below(path, prefix)) else {
        return versioned(method, path);
    };
    let found = versioned(method, rest);
    if found.0 == Api::NotModel { (Api::Unmeterable, None) } else { found }
}

/// What follows a prefix of whole segments; empty for the prefix itself.
fn below<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    if path.as_bytes().first() != prefix.as_bytes().first() {
        return None;
    }
    let rest = path.strip_prefix(prefix)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

fn versioned<'p>(method: &str, path: &'p str) -> Found<'p> {
    let path = VERSIONS.iter().find_map(|version| below(path, version)).unwrap_or(path);
    // Azure, Gemini and Vertex serve OpenAI's API below one more prefix.
    let path = below(path, "openai").map_or(path, |rest| below(rest, "v1").unwrap_or(rest));
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    match first {
        "engines" | "deployments" if !rest.is_empty() => deployment(method, rest),
        "model" => bedrock(rest),
        // Azure's inference API.
        "models" if OPERATIONS.iter().any(|(name, _)| *name == rest) => operation(method, rest),
        "models" | "tunedModels" | "projects" | "publishers" => google(method, path),
        _ => operation(method, path),
    }
}

/// `/engines/{model}/…`, `/openai/deployments/{model}/…`; the name may hold slashes.
fn deployment<'p>(method: &str, rest: &'p str) -> Found<'p> {
    for (name, api) in OPERATIONS {
        if let Some(model) = rest.strip_suffix(name).and_then(|model| model.strip_suffix('/')) {
            let model = model.strip_suffix("/extensions").unwrap_or(model);
            return if model.is_empty() { (Api::Unmeterable, None) } else { (*api, Some(model)) };
        }
    }
    let (model, inner) = rest.split_once('/').unwrap_or((rest, ""));
    let api = if is_reading(method) && inner != "realtime" { Api::Free } else { Api::Unmeterable };
    (api, Some(model))
}

/// `/model/{id}/{verb}` of Bedrock; everything else below `/model` is management of the gateway.
fn bedrock(rest: &str) -> Found<'_> {
    let Some((id, verb)) = rest.rsplit_once('/') else { return NOT_MODEL };
    let api = match verb {
        "converse" | "converse-stream" => Api::BedrockConverse,
        "invoke" | "invoke-with-response-stream" => Api::BedrockInvoke,
        "invoke-with-bidirectional-stream" => Api::Unmeterable,
        "count-tokens" => Api::Free,
        _ => return NOT_MODEL,
    };
    (api, Some(id))
}

/// `…/models/{model}:{verb}` and `…/endpoints/{id}:{verb}` of Gemini and Vertex, and `/models` of everyone.
fn google<'p>(method: &str, path: &'p str) -> Found<'p> {
    if let Some((_, rest)) = path.split_once("/endpoints/openapi/") {
        return versioned(method, rest);
    }
    let name = ["models/", "tunedModels/", "endpoints/"].iter().find_map(|collection| {
        let at = path.find(collection)?;
        (at == 0 || path.as_bytes().get(at - 1) == Some(&b'/')).then(|| path.get(at + collection.len()..))?
    });
    let verb = name.and_then(|name| name.rsplit_once(':')).filter(|(_, verb)| !verb.contains('/'));
    let Some((model, verb)) = verb else {
        return if is_reading(method) { (Api::Free, one_model(path)) } else { (Api::Unmeterable, None) };
    };
    let api = match verb {
        "generateContent" | "streamGenerateContent" => Api::GeminiGenerate,
        "embedContent" | "batchEmbedContents" => Api::GeminiEmbed,
        "countTokens" | "computeTokens" => Api::Free,
        // The body, not this pseudo-model, names the model whose tokens are counted.
        "rawPredict" if model == "count-tokens" => return (Api::Free, None),
        "rawPredict" | "streamRawPredict" if path.contains("publishers/anthropic/models/") => Api::AnthropicMessages,
        // An id with a colon, such as that of a fine-tuned model.
        _ if is_reading(method) => return (Api::Free, one_model(path)),
        _ => Api::Unmeterable,
    };
    if model.is_empty() { (Api::Unmeterable, None) } else { (api, Some(model)) }
}

/// `/models/{model}`: who looks at or deletes one model must be allowed to use it. Names may hold slashes.
fn one_model(path: &str) -> Option<&str> {
    let name = path.strip_prefix("models/")?.split("/operations/").next()?;
    (!name.is_empty()).then_some(name)
}

fn operation<'p>(method: &str, path: &'p str) -> Found<'p> {
    let first = path.split('/').next().unwrap_or_default();
    if !COLLECTIONS.contains(&first) {
        return NOT_MODEL;
    }
    let listed = OPERATIONS.iter().find(|(name, _)| *name == path);
    let ends = |tail: &str| path.ends_with(tail);
    let api = match listed {
        // These are no collections to look into: a GET opens a WebSocket.
        Some((name, _)) if is_reading(method) && *name == "responses" => Api::Unmeterable,
        Some(_) if is_reading(method) => Api::Free,
        Some((_, api)) => *api,
        None if matches!(first, "realtime" | "live" | "a2a" | "search" | "rag") => Api::Unmeterable,
        None if is_reading(method) || FREE.contains(&path) => Api::Free,
        // Running a thread generates; stopping anything does not.
        None if ends("/cancel") => Api::Free,
        None if STORED.contains(&first) && !path.split('/').any(|segment| segment.eq_ignore_ascii_case("runs")) => {
            Api::Free
        }
        None => Api::Unmeterable,
    };
    (api, None)
}

/// Methods by which no API generates.
fn is_reading(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "DELETE")
}

#[cfg(test)]
mod tests;
