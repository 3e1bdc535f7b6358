use super::*;

const CASES: &[(&str, &str, Api, Option<&str>)] = &[
    // OpenAI, plain and versioned.
    ("POST", "/chat/completions", Api::OpenAiChat, None),
    ("POST", "/v1/chat/completions", Api::OpenAiChat, None),
    ("POST", "/v1/chat/completions?key=x", Api::OpenAiChat, None),
    ("POST", "/v1/chat/completions/", Api::OpenAiChat, None),
    ("POST", "//v1//chat/./completions", Api::OpenAiChat, None),
    ("POST", "/v1/%63hat/completions", Api::OpenAiChat, None),
    ("POST", "/x/../v1/chat/completions", Api::OpenAiChat, None),
    ("PUT", "/v1/chat/completions", Api::OpenAiChat, None),
    ("GET", "/v1/chat/completions", Api::Free, None),
    ("OPTIONS", "/v1/chat/completions", Api::Free, None),
    ("POST", "/v1/chat", Api::Unmeterable, None),
    ("POST", "/completions", Api::OpenAiCompletions, None),
    ("POST", "/v1/completions", Api::OpenAiCompletions, None),
    ("POST", "/v1/responses", Api::OpenAiResponses, None),
    ("POST", "/openai/v1/responses", Api::OpenAiResponses, None),
    ("GET", "/v1/responses", Api::Unmeterable, None),
    ("GET", "/v1/responses/resp_1", Api::Free, None),
    ("DELETE", "/v1/responses/resp_1", Api::Free, None),
    ("GET", "/v1/responses/resp_1/input_items", Api::Free, None),
    ("POST", "/v1/responses/resp_1/cancel", Api::Free, None),
    ("POST", "/v1/responses/input_tokens", Api::Free, None),
    ("POST", "/v1/responses/compact", Api::Unmeterable, None),
    ("POST", "/v1/embeddings", Api::OpenAiEmbeddings, None),
    ("POST", "/embeddings", Api::OpenAiEmbeddings, None),
    ("POST", "/v1/images/generations", Api::OpenAiImages, None),
    ("POST", "/v1/images/edits", Api::OpenAiImages, None),
    ("POST", "/images/variations", Api::OpenAiImages, None),
    ("POST", "/v1/images/unheard-of", Api::Unmeterable, None),
    ("POST", "/v1/audio/transcriptions", Api::OpenAiTranscription, None),
    ("POST", "/v1/audio/translations", Api::OpenAiTranscription, None),
    ("POST", "/v1/audio/speech", Api::OpenAiSpeech, None),
    ("POST", "/v1/moderations", Api::OpenAiModeration, None),
    ("POST", "/rerank", Api::OpenAiRerank, None),
    ("POST", "/v1/rerank", Api::OpenAiRerank, None),
    ("POST", "/v2/rerank", Api::OpenAiRerank, None),
    ("POST", "/v1/ocr", Api::Ocr, None),
    ("GET", "/models", Api::Free, None),
    ("GET", "/v1/models", Api::Free, None),
    ("HEAD", "/v1/models", Api::Free, None),
    ("GET", "/v1/models/gpt-4o", Api::Free, Some("gpt-4o")),
    ("GET", "/v1/models/ft:gpt-4o:acme::abc", Api::Free, Some("ft:gpt-4o:acme::abc")),
    ("DELETE", "/models/vendor/some-model", Api::Free, Some("vendor/some-model")),
    ("GET", "/v1beta/models/veo/operations/abc", Api::Free, Some("veo")),
    ("GET", "/v1/files", Api::Free, None),
    ("POST", "/v1/files", Api::Free, None),
    ("GET", "/v1/files/f1/content", Api::Free, None),
    ("POST", "/v1/uploads", Api::Free, None),
    ("GET", "/v1/batches", Api::Free, None),
    ("POST", "/v1/batches", Api::Unmeterable, None),
    ("POST", "/v1/batches/b1/cancel", Api::Free, None),
    ("POST", "/v1/fine_tuning/jobs", Api::Unmeterable, None),
    ("GET", "/v1/fine_tuning/jobs", Api::Free, None),
    ("POST", "/v1/fine_tuning/jobs/j/cancel", Api::Free, None),
    ("POST", "/v1/videos", Api::Unmeterable, None),
    ("POST", "/v1/videos/v/remix", Api::Unmeterable, None),
    ("GET", "/v1/videos/v/content", Api::Free, None),
    ("GET", "/v1/realtime?model=gpt-realtime", Api::Unmeterable, None),
    ("POST", "/v1/realtime/client_secrets", Api::Unmeterable, None),
    ("GET", "/realtime", Api::Unmeterable, None),
    ("POST", "/v1/assistants", Api::Free, None),
    ("POST", "/v1/threads", Api::Free, None),
    ("POST", "/v1/threads/t/messages", Api::Free, None),
    ("POST", "/v1/threads/runs", Api::Unmeterable, None),
    ("POST", "/v1/threads/t/runs", Api::Unmeterable, None),
    ("POST", "/v1/threads/t/runs/r/submit_tool_outputs", Api::Unmeterable, None),
    ("POST", "/v1/threads/t/runs/r/cancel", Api::Free, None),
    ("POST", "/v1/vector_stores/v/search", Api::Unmeterable, None),
    ("GET", "/v1/vector_stores", Api::Free, None),
    ("POST", "/v1/containers", Api::Unmeterable, None),
    ("POST", "/v1/evals/e/runs", Api::Unmeterable, None),
    ("POST", "/utils/token_counter", Api::Free, None),
    ("POST", "/decisions", Api::Unmeterable, None),
    // Engines and Azure.
    ("POST", "/engines/gpt-4o/chat/completions", Api::OpenAiChat, Some("gpt-4o")),
    ("POST", "/v1/engines/ada/embeddings", Api::OpenAiEmbeddings, Some("ada")),
    ("POST", "/engines/gpt-4o/completions", Api::OpenAiCompletions, Some("gpt-4o")),
    ("POST", "/openai/deployments/my-gpt/chat/completions?api-version=1", Api::OpenAiChat, Some("my-gpt")),
    ("POST", "/openai/deployments/my%20gpt/chat/completions", Api::OpenAiChat, Some("my gpt")),
    ("POST", "/openai/deployments/openai/gpt-4o/chat/completions", Api::OpenAiChat, Some("openai/gpt-4o")),
    ("POST", "/openai/deployments/my-gpt/extensions/chat/completions", Api::OpenAiChat, Some("my-gpt")),
    ("POST", "/openai/deployments/ada/embeddings", Api::OpenAiEmbeddings, Some("ada")),
    ("POST", "/openai/deployments/w/audio/transcriptions", Api::OpenAiTranscription, Some("w")),
    ("POST", "/openai/deployments/d/images/generations", Api::OpenAiImages, Some("d")),
    ("POST", "/openai/deployments/d/unheard-of", Api::Unmeterable, Some("d")),
    ("POST", "/openai/deployments/chat/completions", Api::OpenAiCompletions, Some("chat")),
    ("GET", "/openai/deployments", Api::Free, None),
    ("POST", "/azure/openai/deployments/my-gpt/chat/completions", Api::OpenAiChat, Some("my-gpt")),
    ("POST", "/azure/openai/v1/chat/completions", Api::OpenAiChat, None),
    ("POST", "/azure_ai/models/chat/completions", Api::OpenAiChat, None),
    ("POST", "/OpenAI/Deployments/my-gpt/chat/completions", Api::Unmeterable, None),
    // Anthropic.
    ("POST", "/v1/messages", Api::AnthropicMessages, None),
    ("POST", "/messages", Api::AnthropicMessages, None),
    ("POST", "/v1/messages/count_tokens", Api::Free, None),
    ("POST", "/v1/messages/batches", Api::Unmeterable, None),
    ("GET", "/v1/messages/batches/b", Api::Free, None),
    ("POST", "/anthropic/v1/messages", Api::AnthropicMessages, None),
    ("POST", "/anthropic/v1/messages/count_tokens", Api::Free, None),
    ("POST", "/anthropic/v1/complete", Api::Unmeterable, None),
    ("POST", "/claude_code_gateway/v1/messages", Api::AnthropicMessages, None),
    // Google.
    ("POST", "/v1beta/models/gemini-pro:generateContent", Api::GeminiGenerate, Some("gemini-pro")),
    ("POST", "/v1beta/models/gemini-pro:streamGenerateContent?alt=sse", Api::GeminiGenerate, Some("gemini-pro")),
    ("GET", "/v1beta/models/gemini-pro:generateContent", Api::GeminiGenerate, Some("gemini-pro")),
    ("POST", "/models/gemini-pro%3AgenerateContent", Api::GeminiGenerate, Some("gemini-pro")),
    ("POST", "/v1beta/models/bedrock/claude-x:generateContent", Api::GeminiGenerate, Some("bedrock/claude-x")),
    ("POST", "/v1beta/models/e:embedContent", Api::GeminiEmbed, Some("e")),
    ("POST", "/v1beta/models/e:batchEmbedContents", Api::GeminiEmbed, Some("e")),
    ("POST", "/v1beta/models/g:countTokens", Api::Free, Some("g")),
    ("POST", "/v1beta/models/g:predictLongRunning", Api::Unmeterable, Some("g")),
    ("POST", "/v1beta/models/:generateContent", Api::Unmeterable, None),
    ("POST", "/v1beta/tunedModels/t:generateContent", Api::GeminiGenerate, Some("t")),
    ("POST", "/v1beta/cachedContents", Api::Unmeterable, None),
    ("POST", "/v1beta/openai/chat/completions", Api::OpenAiChat, None),
    ("POST", "/gemini/v1beta/models/g:generateContent", Api::GeminiGenerate, Some("g")),
    ("POST", "/gemini/upload/v1beta/files", Api::Unmeterable, None),
    (
        "POST",
        "/v1/projects/p/locations/l/publishers/google/models/gemini-pro:generateContent",
        Api::GeminiGenerate,
        Some("gemini-pro"),
    ),
    (
        "POST",
        "/vertex_ai/v1/projects/p/locations/l/publishers/google/models/g:streamGenerateContent",
        Api::GeminiGenerate,
        Some("g"),
    ),
    (
        "POST",
        "/vertex_ai/v1/projects/p/locations/l/publishers/anthropic/models/claude@1:streamRawPredict",
        Api::AnthropicMessages,
        Some("claude@1"),
    ),
    ("POST", "/v1/projects/p/locations/l/publishers/anthropic/models/count-tokens:rawPredict", Api::Free, None),
    ("POST", "/v1/projects/p/locations/l/endpoints/42:generateContent", Api::GeminiGenerate, Some("42")),
    ("POST", "/v1/projects/p/locations/l/endpoints/42:predict", Api::Unmeterable, Some("42")),
    ("POST", "/v1/projects/p/locations/l/endpoints/openapi/chat/completions", Api::OpenAiChat, None),
    ("POST", "/vertex_ai/projects/p/locations/l/batchPredictionJobs", Api::Unmeterable, None),
    ("POST", "/v1/publishers/google/models/g:generateContent", Api::GeminiGenerate, Some("g")),
    // Bedrock.
    ("POST", "/model/anthropic.claude-v2/converse", Api::BedrockConverse, Some("anthropic.claude-v2")),
    ("POST", "/model/anthropic.claude-v2%3A1/converse-stream", Api::BedrockConverse, Some("anthropic.claude-v2:1")),
    ("POST", "/model/m/invoke", Api::BedrockInvoke, Some("m")),
    ("POST", "/model/m/invoke-with-response-stream", Api::BedrockInvoke, Some("m")),
    ("POST", "/model/m/invoke-with-bidirectional-stream", Api::Unmeterable, Some("m")),
    ("POST", "/model/m/count-tokens", Api::Free, Some("m")),
    ("POST", "/bedrock/model/m/converse", Api::BedrockConverse, Some("m")),
    ("POST", "/bedrock/agents/a/sessions/s/text", Api::Unmeterable, None),
    ("POST", "/async-invoke", Api::Unmeterable, None),
    // Other prefixes.
    ("POST", "/mistral/v1/chat/completions", Api::OpenAiChat, None),
    ("POST", "/cohere/v2/chat", Api::Unmeterable, None),
    ("GET", "/cohere/v1/unheard-of", Api::Unmeterable, None),
    ("POST", "/cursor/chat/completions", Api::OpenAiChat, None),
    ("GET", "/cursor/models", Api::Free, None),
    ("POST", "/backend-api/codex/responses", Api::OpenAiResponses, None),
    ("POST", "/openai", Api::Unmeterable, None),
    ("POST", "/a2a/agent/message/send", Api::Unmeterable, None),
    // What a lax server would take for a model path.
    ("POST", "/v1/threads/t/Runs", Api::Unmeterable, None),
    ("POST", "/v1/threads/RUNS", Api::Unmeterable, None),
    ("POST", "/V1/Chat/Completions", Api::Unmeterable, None),
    // Everything else.
    ("GET", "/", Api::NotModel, None),
    ("GET", "*", Api::NotModel, None),
    ("GET", "/health/liveliness", Api::NotModel, None),
    ("POST", "/key/generate", Api::NotModel, None),
    ("POST", "/v2/key/info", Api::NotModel, None),
    ("POST", "/model/new", Api::NotModel, None),
    ("GET", "/model/info", Api::NotModel, None),
    ("GET", "/v1/model/info", Api::NotModel, None),
    ("POST", "/team/new", Api::NotModel, None),
    ("POST", "/anthropicx/v1/messages", Api::NotModel, None),
    ("POST", "/v1/mcp/server", Api::NotModel, None),
    ("POST", "/mcp", Api::NotModel, None),
    ("POST", "/v1/v1/chat/completions", Api::NotModel, None),
    ("POST", "/chat_completions", Api::NotModel, None),
];

#[test]
fn every_path_leads_where_the_table_says() {
    assert!(CASES.len() >= 100);
    for (method, path, api, model) in CASES {
        let route = Route::read(method, path).unwrap();
        assert_eq!((route.api, route.model.as_deref()), (*api, *model), "{method} {path}");
    }
}

#[test]
fn a_path_is_normalised_before_its_root_is_taken_away() {
    for path in ["/genai/v1/chat/completions", "//genai/x/../v1/chat/completions", "/%67enai/v1/chat/completions/"] {
        let route = Route::read_below("/genai", "POST", path).unwrap();
        assert_eq!((route.api, &*route.path), (Api::OpenAiChat, "/v1/chat/completions"), "{path}");
    }
    assert_eq!(Route::read_below("/genai", "POST", "/genai/../v1/chat/completions").unwrap().api, Api::OpenAiChat);
    assert_eq!(Route::read_below("/genai", "POST", "/other/v1/chat/completions").unwrap().api, Api::NotModel);
    // What a lax server takes for a path below the root is not free.
    for path in ["/GenAI/v1/chat/completions", "/GENAI/V1/chat/completions", "/genai/V1/Chat/completions"] {
        assert_eq!(Route::read_below("/genai", "POST", path).unwrap().api, Api::Unmeterable, "{path}");
    }
}

#[test]
fn a_path_with_two_readings_is_refused_with_400() {
    let paths = ["/v1%2fchat/completions", "/v1/%5c", "/v1\\chat", "/a//../b", "/%00", "/%c3", "v1"];
    let lax = ["/v1/chat/completions;x=1", "/v1;x/chat/completions", "/v1/threads/t/runs;x", "/open/..;/v1/messages"];
    for path in paths.into_iter().chain(lax) {
        let denial = Route::read("POST", path).unwrap_err();
        assert_eq!((denial.status, denial.kind.as_str()), (400, "bad_request_error"), "{path}");
    }
}

#[test]
fn a_plain_path_is_not_copied() {
    let route = Route::read("POST", "/openai/deployments/m/chat/completions?a=b").unwrap();
    assert!(matches!(route.path, Cow::Borrowed(_)) && matches!(route.model, Some(Cow::Borrowed(_))));
    assert_eq!(route.query, "a=b");
}
