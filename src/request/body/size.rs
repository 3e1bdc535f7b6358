//! How large a prompt is: text, images, audio and files, told apart by the shapes OpenAI, Anthropic, Google and Bedrock
//! give to parts. What it does not know it counts as text, which is the dearer reading.

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
}

/// One open object or array.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    /// How the object around names this one.
    named: Slot,
    /// What the current key says.
    slot: Slot,
    is_array: bool,
    media: Option<Media>,
    /// Bytes that are media if this turns out to be a part of media, and text otherwise.
    data: u64,
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
                let named = self.open.last().map_or(Slot::Other, |part| part.slot);
                let media = if let Slot::Wraps(media) = named { Some(media) } else { None };
                self.open.push(Part { named, media, ..Part::default() });
            }
            Token::Array => self.open.push(Part { is_array: true, ..Part::default() }),
            Token::Close => self.close(),
            Token::Key(key) => {
                if let Some(part) = self.open.last_mut() {
                    part.slot = Slot::of(key.plain());
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
                Slot::Type => part.media = Media::of_type(text.plain()).or(part.media),
                Slot::Mime => part.media = Media::of_mime(text.raw).or(part.media),
                Slot::Data | Slot::Wraps(_) | Slot::Source if is_data(text.raw) => {
                    let told = if let Slot::Wraps(media) = slot { Some(media) } else { None };
                    part.media = part.media.or_else(|| Media::of_data_url(text.raw)).or(told);
                    part.data = part.data.saturating_add(len);
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
            return;
        }
        let size = &mut self.size;
        if part.media.is_some() {
            size.media_bytes = size.media_bytes.saturating_add(part.data);
        }
        match part.media {
            Some(Media::Image) => size.images = size.images.saturating_add(1),
            Some(Media::Audio) => size.audio_bytes = size.audio_bytes.saturating_add(part.data),
            Some(Media::File) => size.file_bytes = size.file_bytes.saturating_add(part.data),
            None => size.text_bytes = size.text_bytes.saturating_add(part.data),
        }
    }
}

impl Slot {
    fn of(key: &str) -> Slot {
        match key {
            "type" => Slot::Type,
            "mimeType" | "mime_type" | "media_type" => Slot::Mime,
            "data" | "bytes" | "url" | "b64_json" => Slot::Data,
            "inlineData" | "inline_data" | "source" | "fileData" | "file_data" => Slot::Source,
            "image_url" | "image" | "input_image" => Slot::Wraps(Media::Image),
            "input_audio" | "audio" => Slot::Wraps(Media::Audio),
            "file" | "document" | "input_file" | "video" => Slot::Wraps(Media::File),
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

/// Whether a string can be base64 or a URL: neither holds a space, and prose does.
fn is_data(raw: &str) -> bool {
    memchr(b' ', raw.as_bytes()).is_none()
}
