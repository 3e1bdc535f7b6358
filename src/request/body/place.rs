//! Where in a body a value stands, as far as the gate reads it: which object leads to which, and what each may say.

use std::borrow::Cow;

use super::{banned, caps, spelling};

/// A container that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The whole body.
    Body,
    /// `extra_body`: its members join the body on the way to the provider.
    Extra,
    /// `generationConfig`, `inferenceConfig` and their like, by name.
    Config(&'static str),
    Metadata,
    LiteLlmMetadata,
    /// `litellm_params`, `litellm_embedding_config`: read for what may not be sent.
    Params,
    /// `stream_options`: whether the stream tells its usage.
    Options,
    /// `session` and `completion`: name a model.
    Session,
    /// `requests`: a batch; each names a model.
    Requests,
    Request,
    /// `params` of a request of a batch: the body of a call.
    Batched,
    /// `tools` or `plugins`, and one of them: other models may do its work.
    Tools,
    Tool,
    /// `parameters` of a tool: what it is called with, or a schema.
    Parameters,
    /// A list of models that do a part of the work.
    Helpers,
    /// `router_settings_override`: holds lists of fallbacks.
    Router,
    /// A list of fallbacks.
    Fallbacks,
    /// One fallback: a request's parameters, or `{model: [fallback, …]}`.
    Fallback,
    /// `target_model_names`.
    Targets,
    /// `metadata.tags`, `litellm_metadata.tags`, `tags`.
    Tags(usize),
    /// A list of prompts, of which each is answered.
    Prompts,
}

/// Members of a request that are lists, but not of models, when a fallback overrides them.
const LISTS: &[&str] =
    &["messages", "stop", "stop_sequences", "tools", "functions", "modalities", "tags", "input", "prompt", "include"];

impl Place {
    pub fn is_object(self) -> bool {
        !matches!(
            self,
            Place::Requests
                | Place::Tools
                | Place::Helpers
                | Place::Fallbacks
                | Place::Targets
                | Place::Tags(_)
                | Place::Prompts
        )
    }

    /// The container that the member `name` of this one is, where it is read.
    pub fn within(self, name: &str, is_object: bool) -> Option<Place> {
        if is_object
            && matches!(self, Place::Body | Place::Extra)
            && let Some(config) = caps::CONFIGS.iter().find(|config| **config == name)
        {
            return Some(Place::Config(config));
        }
        match (self, name, is_object) {
            (Place::Body | Place::Fallback, "extra_body", true) => Some(Place::Extra),
            (Place::Body | Place::Extra | Place::Fallback, "metadata", true) => Some(Place::Metadata),
            (Place::Body | Place::Extra | Place::Fallback, "litellm_metadata", true) => Some(Place::LiteLlmMetadata),
            (Place::Body | Place::Extra | Place::Fallback, "litellm_params" | "litellm_embedding_config", true) => {
                Some(Place::Params)
            }
            (Place::Body | Place::Extra, "stream_options", true) => Some(Place::Options),
            (Place::Body | Place::Extra, "session" | "completion", true) => Some(Place::Session),
            (Place::Body, "requests", false) => Some(Place::Requests),
            (Place::Requests, _, true) => Some(Place::Request),
            (Place::Request, "params", true) => Some(Place::Batched),
            (Place::Body | Place::Extra | Place::Fallback | Place::Batched, "tools" | "plugins", false) => {
                Some(Place::Tools)
            }
            (Place::Tools, _, true) => Some(Place::Tool),
            (Place::Tool, "parameters", true) => Some(Place::Parameters),
            (Place::Tool | Place::Parameters, "models" | "analysis_models", false) => Some(Place::Helpers),
            (Place::Body | Place::Extra, "router_settings_override", true) => Some(Place::Router),
            (
                Place::Body | Place::Extra | Place::Router | Place::Fallback,
                "fallbacks" | "context_window_fallbacks" | "content_policy_fallbacks" | "default_fallbacks" | "models",
                false,
            ) => Some(Place::Fallbacks),
            (Place::Fallbacks, _, true) => Some(Place::Fallback),
            (Place::Fallbacks, _, false) => Some(Place::Fallbacks),
            (Place::Fallback, name, false) if !LISTS.contains(&name) => Some(Place::Fallbacks),
            (Place::Body | Place::Extra, "target_model_names", false) => Some(Place::Targets),
            (Place::Metadata, "tags", false) => Some(Place::Tags(0)),
            (Place::LiteLlmMetadata, "tags", false) => Some(Place::Tags(1)),
            (Place::Body | Place::Extra, "tags", false) => Some(Place::Tags(2)),
            _ => None,
        }
    }

    /// Whether the member `name` names the model that is asked for.
    pub fn is_model(self, name: &str) -> bool {
        name == "model" && matches!(self, Place::Body | Place::Extra | Place::Session | Place::Request)
    }

    /// Whether the member `name` names a model that does a part of the work.
    pub fn is_helper(self, name: &str) -> bool {
        self == Place::Helpers || name == "model" && matches!(self, Place::Batched | Place::Tool | Place::Parameters)
    }

    /// Whether output caps and numbers of answers stand here.
    pub fn holds_caps(self) -> bool {
        matches!(self, Place::Body | Place::Extra | Place::Config(_))
    }

    /// Whether destinations, credentials and prices are refused here.
    pub fn may_ban(self) -> bool {
        matches!(
            self,
            Place::Body
                | Place::Extra
                | Place::Metadata
                | Place::LiteLlmMetadata
                | Place::Params
                | Place::Router
                | Place::Fallback
        )
    }

    /// The name that is read here and that `name` differs from in case alone. What people keep in metadata, and the
    /// schemas of their tools, have names of their own.
    pub fn meant(self, name: &str) -> Option<&'static str> {
        spelling::meant(name).filter(|meant| self.knows(meant))
    }

    /// Whether a member of this name is read, whatever its value.
    pub fn knows(self, name: &str) -> bool {
        let is_own = matches!(self, Place::Metadata | Place::LiteLlmMetadata | Place::Parameters);
        !is_own && (self.reads(name) || self.within(name, true).is_some() || self.within(name, false).is_some())
    }

    /// Whether a member of this name is refused here, in any case; what people keep in metadata is compared as it is.
    pub fn bans(self, name: &str) -> bool {
        let is_own = matches!(self, Place::Metadata | Place::LiteLlmMetadata);
        self.may_ban() && banned::is_banned(&if is_own { Cow::Borrowed(name) } else { spelling::folded(name) })
    }

    /// Whether a text under this name is read; others are never decoded.
    pub fn reads(self, name: &str) -> bool {
        match self {
            Place::Helpers | Place::Fallbacks | Place::Targets | Place::Tags(_) => true,
            Place::Fallback => name == "model",
            Place::Metadata => matches!(name, "user_id" | "tags"),
            Place::LiteLlmMetadata => matches!(name, "user" | "tags"),
            Place::Session | Place::Request | Place::Batched | Place::Tool | Place::Parameters => name == "model",
            Place::Options => name == "include_usage",
            Place::Config(_) => caps::is_cap(name) || caps::is_choices(name),
            Place::Params | Place::Router | Place::Requests | Place::Tools | Place::Prompts => false,
            Place::Body | Place::Extra => {
                caps::is_cap(name)
                    || caps::is_choices(name)
                    || self.within(name, true).is_some()
                    || self.within(name, false).is_some()
                    || matches!(
                        name,
                        "model"
                            | "user"
                            | "safety_identifier"
                            | "service_tier"
                            | "serviceTier"
                            | "size"
                            | "quality"
                            | "speed"
                            | "stream"
                    )
            }
        }
    }
}
