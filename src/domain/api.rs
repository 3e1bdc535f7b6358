//! The APIs a request can speak: what decides where the model is named, how usage is reported and what is priced.

/// What a path asks for. Found from method and path alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Api {
    /// `/chat/completions` and its Azure and engine forms.
    OpenAiChat,
    OpenAiCompletions,
    /// `/responses`.
    OpenAiResponses,
    OpenAiEmbeddings,
    /// Images generated, edited or varied.
    OpenAiImages,
    /// Speech to text.
    OpenAiTranscription,
    /// Text to speech.
    OpenAiSpeech,
    OpenAiModeration,
    OpenAiRerank,
    /// `/v1/messages`.
    AnthropicMessages,
    /// `…:generateContent`, `…:streamGenerateContent`.
    GeminiGenerate,
    /// `…:embedContent`, `…:batchEmbedContents`.
    GeminiEmbed,
    /// `/model/{id}/converse`, `/model/{id}/converse-stream`.
    BedrockConverse,
    /// `/model/{id}/invoke`, `/model/{id}/invoke-with-response-stream`: the body is the model vendor's own.
    BedrockInvoke,
    /// Optical character recognition, priced by page.
    Ocr,
    /// Asks about models, tokens or stored objects: costs nothing at the provider (`GET /models`, `count_tokens` …).
    Free,
    /// A model path whose usage cannot be read (realtime, video, batches, unknown provider paths).
    Unmeterable,
    /// Not a path of an AI model: the management API, health, pages.
    NotModel,
}

impl Api {
    /// Whether calling it can cost money or tokens.
    #[must_use]
    pub const fn is_billable(self) -> bool {
        !matches!(self, Api::Free | Api::NotModel)
    }

    #[must_use]
    pub const fn is_model_route(self) -> bool {
        !matches!(self, Api::NotModel)
    }

    /// The name in metrics, records and hold tokens.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Api::OpenAiChat => "openai_chat",
            Api::OpenAiCompletions => "openai_completions",
            Api::OpenAiResponses => "openai_responses",
            Api::OpenAiEmbeddings => "openai_embeddings",
            Api::OpenAiImages => "openai_images",
            Api::OpenAiTranscription => "openai_transcription",
            Api::OpenAiSpeech => "openai_speech",
            Api::OpenAiModeration => "openai_moderation",
            Api::OpenAiRerank => "openai_rerank",
            Api::AnthropicMessages => "anthropic_messages",
            Api::GeminiGenerate => "gemini_generate",
            Api::GeminiEmbed => "gemini_embed",
            Api::BedrockConverse => "bedrock_converse",
            Api::BedrockInvoke => "bedrock_invoke",
            Api::Ocr => "ocr",
            Api::Free => "free",
            Api::Unmeterable => "unmeterable",
            Api::NotModel => "not_model",
        }
    }

    pub const ALL: [Api; 18] = [
        Api::OpenAiChat,
        Api::OpenAiCompletions,
        Api::OpenAiResponses,
        Api::OpenAiEmbeddings,
        Api::OpenAiImages,
        Api::OpenAiTranscription,
        Api::OpenAiSpeech,
        Api::OpenAiModeration,
        Api::OpenAiRerank,
        Api::AnthropicMessages,
        Api::GeminiGenerate,
        Api::GeminiEmbed,
        Api::BedrockConverse,
        Api::BedrockInvoke,
        Api::Ocr,
        Api::Free,
        Api::Unmeterable,
        Api::NotModel,
    ];

    #[must_use]
    pub fn parse(name: &str) -> Option<Api> {
        Api::ALL.into_iter().find(|api| api.as_str() == name)
    }
}

/// How large a prompt is, counted while its body was scanned; nothing is tokenised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PromptSize {
    /// Bytes of the whole body: no text tokeniser makes more tokens of it.
    pub body_bytes: u64,
    /// Bytes of text in it, inline media (base64) left out.
    pub text_bytes: u64,
    /// Bytes of inline media of any kind, as base64.
    pub media_bytes: u64,
    /// Parts that are images, by URL or inline.
    pub images: u32,
    /// Bytes of inline audio and of inline files (PDF …), as base64.
    pub audio_bytes: u64,
    pub file_bytes: u64,
    /// Whether there is input beside the body: a stored file, a document at an address.
    pub refers: bool,
}
