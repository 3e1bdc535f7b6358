//! How large a prompt is: text, images, audio and files, told apart by the shapes OpenAI, Anthropic, Google and Bedrock
//! give to parts. What it does not know it counts as text, which is the dearer reading; and what a model reads as text
//! whatever it looks like: what tools are called with and answer, schemas, and what templates make a prompt of.

use memchr::memchr;
use smallvec::SmallVec;

use super::json::{Text, Token};
use crate::domain::PromptSize;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Media {
    Image,
    Audio,
    File,
}

/// What a key says about its value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Slot {
    #[default]
    Other,
    /// Names the kind of its part.
    Type,
    /// Names a media type.
    Mime,
    /// Holds media, inline or by URL, if its part is of media.
    Data,
    /// An object that belongs to the part around it.
    Source,
    /// The same, and it names the kind of media.
    Wraps(Media),
    /// JSON of the caller's own shape, which the model reads as text.
    Free,
    /// Names something that the provider keeps or fetches.
    Reference,
}

/// One open object or array.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    /// How the object around names this one.
    named: Slot,
    /// What the current key says.
    slot: Slot,
    is_array: bool,
    /// Whether all in it is text.
    is_text: bool,
    media: Option<Media>,
    /// Bytes that are media if this turns out to be a part of media, and text otherwise.
    data: u64,
    /// Whether the data is an address.
    is_address: bool,
}

/// Counts while a document passes.
#[derive(Debug, Default)]
pub struct Sizer {
    open: SmallVec<[Part; 16]>,
    size: PromptSize,
}

impl Sizer {
    /// Takes every token of a document, in order.
    pub fn see(&mut self, token: &Token<'_>) {
        match token {
            Token::Object => {
                let around = self.open.last().copied().unwrap_or_default();
                // Where media is a string, an object is something else.
                let is_text = around.is_text || matches!(around.slot, Slot::Free | Slot::Data);
                let named = if is_text { Slot::Other } else { around.slot };
                let media = if let Slot::Wraps(media) = named { Some(media) } else { None };
                self.open.push(Part { named, is_text, media, ..Part::default() });
            }
            Token::Array => {
                let around = self.open.last().copied().unwrap_or_default();
                let is_text = around.is_text || around.slot == Slot::Free;
                self.open.push(Part { is_array: true, is_text, ..Part::default() });
            }
            Token::Close => self.close(),
            Token::Key(key) => {
                let is_top = self.open.len() == 1;
                if let Some(part) = self.open.last_mut().filter(|part| !part.is_text) {
                    part.slot = match key.is_escaped() {
                        false => Slot::of(key.raw, is_top),
                        true => key.decode().map_or(Slot::Other, |key| Slot::of(&key, is_top)),
                    };
                    self.size.refers |= part.slot == Slot::Reference;
                }
            }
            Token::Text(text) => self.text(text),
            // Prompts may be lists of token numbers.
            Token::Number(digits) if self.open.last().is_some_and(|part| part.is_array) => {
                self.size.text_bytes = self.size.text_bytes.saturating_add(digits.len() as u64 + 1);
            }
            Token::Number(_) | Token::Bool(_) | Token::Null => {}
        }
    }

    /// The count; the length of the body is the caller's to add. Parts still open (a body was cut) count as they are.
    pub fn finish(mut self) -> PromptSize {
        while !self.open.is_empty() {
            self.close();
        }
        self.size
    }

    fn text(&mut self, text: &Text<'_>) {
        let len = text.len as u64;
        let slot = self.open.last().map_or(Slot::Other, |part| part.slot);
        if let Some(part) = self.open.last_mut() {
            match slot {
                _ if part.is_text => {}
                Slot::Type => part.media = Media::of_type(text.plain()).or(part.media),
                Slot::Mime => part.media = Media::of_mime(text.raw).or(part.media),
                Slot::Data | Slot::Wraps(_) | Slot::Source if is_data(text.raw) => {
                    let told = if let Slot::Wraps(media) = slot { Some(media) } else { None };
                    part.media = part.media.or_else(|| Media::of_data_url(text.raw)).or(told);
                    part.data = part.data.saturating_add(len);
                    part.is_address |= is_address(text.raw);
                    return;
                }
                _ => {}
            }
        }
        self.size.text_bytes = self.size.text_bytes.saturating_add(len);
    }

    fn close(&mut self) {
        let Some(part) = self.open.pop() else { return };
        if matches!(part.named, Slot::Source | Slot::Wraps(_))
            && let Some(around) = self.open.last_mut()
        {
            around.media = around.media.or(part.media);
            around.data = around.data.saturating_add(part.data);
            around.is_address |= part.is_address;
            return;
        }
        let size = &mut self.size;
        if part.media.is_some() {
            size.media_bytes = size.media_bytes.saturating_add(part.data);
        }
        // An image counts by table wherever it is.
        size.refers |= part.is_address && matches!(part.media, Some(Media::Audio | Media::File));
        match part.media {
            Some(Media::Image) => size.images = size.images.saturating_add(1),
            Some(Media::Audio) => size.audio_bytes = size.audio_bytes.saturating_add(part.data),
            Some(Media::File) => size.file_bytes = size.file_bytes.saturating_add(part.data),
            None => size.text_bytes = size.text_bytes.saturating_add(part.data),
        }
    }
}

impl Slot {
    /// `is_top` where it is a key of the body itself, whose `input` is the prompt.
    fn of(key: &str, is_top: bool) -> Slot {
        match key {
            "type" => Slot::Type,
            "mimeType" | "mime_type" | "media_type" => Slot::Mime,
            "data" | "bytes" | "url" | "b64_json" => Slot::Data,
            "inlineData" | "inline_data" | "source" | "fileData" | "file_data" => Slot::Source,
            "image_url" | "image" | "input_image" => Slot::Wraps(Media::Image),
            "input_audio" | "audio" => Slot::Wraps(Media::Audio),
            "file" | "document" | "input_file" | "video" => Slot::Wraps(Media::File),
            "input" if !is_top => Slot::Free,
            "arguments" | "args" | "response" | "json" | "documents" | "chat_template_kwargs" => Slot::Free,
            "parameters" | "parametersJsonSchema" | "parameters_json_schema" => Slot::Free,
            "input_schema" | "inputSchema" | "schema" | "json_schema" => Slot::Free,
            "responseSchema" | "response_schema" | "responseJsonSchema" | "response_json_schema" => Slot::Free,
            "file_id" | "file_url" | "fileUri" | "file_uri" | "document_url" | "s3Location" => Slot::Reference,
            _ => Slot::Other,
        }
    }
}

impl Media {
    fn of_type(name: &str) -> Option<Media> {
        match name {
            "image" | "image_url" | "input_image" => Some(Media::Image),
            "audio" | "input_audio" => Some(Media::Audio),
            "file" | "input_file" | "document" => Some(Media::File),
            _ => None,
        }
    }

    /// By media type (RFC 6838); text is no media.
    pub(super) fn of_mime(name: &str) -> Option<Media> {
        let family = name.split(['/', '\\']).next().unwrap_or_default();
        match family {
            "image" => Some(Media::Image),
            "audio" => Some(Media::Audio),
            "video" | "application" => Some(Media::File),
            _ => None,
        }
    }

    fn of_data_url(text: &str) -> Option<Media> {
        Media::of_mime(text.strip_prefix("data:")?)
    }
}

/// Whether a string names where something is, rather than being it.
fn is_address(raw: &str) -> bool {
    raw.split_once(':').is_some_and(|(scheme, _)| matches!(scheme, "http" | "https" | "gs" | "s3"))
}

/// Whether a string can be base64 or a URL: neither holds a space, and prose does.
fn is_data(raw: &str) -> bool {
    memchr(b' ', raw.as_bytes()).is_none()
}
