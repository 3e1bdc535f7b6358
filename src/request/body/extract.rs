//! Picks what the gate asks for out of a body as its tokens pass. It follows only the objects that it reads; in those a
//! key that stands twice is refused, since two readers may choose differently between its values, and so is a name that
//! is read in another case, since some readers take it for the name itself.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::caps::{self, OutputCap};
use super::json::{Fault, Text, Token, Tokens};
use super::place::Place;
use super::{BodyView, banned};
use crate::domain::{Api, PromptSize};

/// Keys an object that is read may hold.
const MAX_KEYS: usize = 512;
/// Names (models, tags) a list may hold.
const MAX_NAMES: usize = 128;
/// What looking at the keys and names of one document may cost, in comparisons: some milliseconds, whoever asks. A batch
/// of a hundred thousand requests stays below.
const MAX_EFFORT: usize = 1 << 23;
/// Comparisons a key costs besides those with its siblings.
const KEY_EFFORT: usize = 4;
/// Bytes a name may have.
const MAX_NAME: usize = 1024;
/// Bytes a tag may have.
const MAX_TAG: usize = 256;

/// A name that is read, in another case.
pub const MISSPELT: Fault = Fault::Unfit("the name of a parameter is written in another case than its own");

/// A single value.
#[derive(Clone, Debug)]
pub enum Scalar<'a> {
    Text(Cow<'a, str>),
    Number(&'a str),
    Bool(bool),
    Null,
}

/// What is left of [`MAX_EFFORT`].
#[derive(Debug, Default)]
struct Effort(usize);

impl Effort {
    fn spend(&mut self, comparisons: usize) -> Result<(), Fault> {
        self.0 = self.0.checked_sub(comparisons).ok_or(Fault::Unfit("its objects and lists hold too many names"))?;
        Ok(())
    }
}

/// What was found so far.
#[derive(Debug)]
pub struct Extract<'a> {
    api: Api,
    max_depth: usize,
    /// Open containers that are read, and where their keys begin in `names`.
    open: SmallVec<[(Place, usize); 8]>,
    /// Open containers inside a value that is not read.
    skipped: usize,
    /// Keys of the open objects that are read, outermost first.
    names: Vec<Cow<'a, str>>,
    effort: Effort,
    /// An array of `target_model_names`, as it grows.
    targets: Option<String>,
    cap: OutputCap,
    /// Prompts listed so far.
    prompts: u64,
    /// `user`, `litellm_metadata.user`, `metadata.user_id`, `safety_identifier`.
    users: [Option<Cow<'a, str>>; 4],
    /// `metadata.tags`, `litellm_metadata.tags`, `tags`.
    tags: [Vec<Cow<'a, str>>; 3],
    view: BodyView<'a>,
}

impl<'a> Extract<'a> {
    pub fn new(api: Api, max_depth: usize) -> Self {
        Extract {
            api,
            max_depth,
            open: SmallVec::new(),
            skipped: 0,
            names: Vec::with_capacity(16),
            effort: Effort(MAX_EFFORT),
            targets: None,
            cap: OutputCap::default(),
            prompts: 0,
            users: [None, None, None, None],
            tags: [Vec::new(), Vec::new(), Vec::new()],
            view: BodyView::default(),
        }
    }

    /// A body whose members are given one by one: a form.
    pub fn form(api: Api, max_depth: usize) -> Self {
        let mut extract = Extract::new(api, max_depth);
        extract.open.push((Place::Body, 0));
        extract
    }

    /// Takes every token of a document, in order.
    pub fn see(&mut self, token: Token<'a>) -> Result<(), Fault> {
        if self.skipped > 0 {
            match token {
                Token::Object | Token::Array => self.skipped += 1,
                Token::Close => self.skipped -= 1,
                _ => {}
            }
            return Ok(());
        }
        match token {
            Token::Object => self.enter(true),
            Token::Array => self.enter(false),
            Token::Close => self.leave(),
            Token::Key(key) => self.key(key.decode()?),
            Token::Text(text) => match self.open.last() {
                Some((place, _)) if place.reads(self.current()) => self.scalar(Scalar::Text(text.decode()?)),
                Some(_) => self.unread(&text),
                None => Err(Fault::Unfit("the body is not an object")),
            },
            Token::Number(digits) => self.scalar(Scalar::Number(digits)),
            Token::Bool(value) => self.scalar(Scalar::Bool(value)),
            Token::Null => self.scalar(Scalar::Null),
        }
    }

    /// A member of a form, in the object `place`.
    pub fn member(&mut self, place: Place, name: &'a str, value: Scalar<'a>) -> Result<(), Fault> {
        let name = Cow::Borrowed(name);
        if place == Place::Body {
            self.key(name)?;
            return self.scalar(value);
        }
        self.open.push((place, self.names.len()));
        let done = self.key(name).and_then(|()| self.scalar(value));
        let left = self.leave();
        done.and(left)
    }

    /// An object or list of a form whose members come one by one.
    pub fn note(&mut self, name: &'a str) {
        if !self.names.iter().any(|known| known == name) {
            self.names.push(Cow::Borrowed(name));
        }
    }

    pub fn finish(mut self, prompt: PromptSize) -> BodyView<'a> {
        self.names.truncate(self.open.get(1).map_or(self.names.len(), |(_, from)| *from));
        self.view.keys = self.names;
        self.view.max_tokens = self.cap.get();
        self.view.prompts = self.prompts.max(1);
        self.view.end_user = self.users.into_iter().flatten().next();
        for tag in self.tags.into_iter().flatten() {
            if !self.view.tags.contains(&tag) {
                self.view.tags.push(tag);
            }
        }
        self.view.prompt = prompt;
        self.view
    }

    fn current(&self) -> &str {
        match self.open.last() {
            Some((place, from)) if place.is_object() && self.names.len() > *from => {
                self.names.last().map_or("", |name| name)
            }
            _ => "",
        }
    }

    fn enter(&mut self, is_object: bool) -> Result<(), Fault> {
        let Some(&(place, _)) = self.open.last() else {
            if !is_object {
                return Err(Fault::Unfit("the body is not an object"));
            }
            self.open.push((Place::Body, 0));
            return Ok(());
        };
        let name = self.current();
        if place.is_model(name) {
            return Err(Fault::Unfit("a model is named by something other than a string"));
        }
        // A text that looks like a list is one prompt, so this is no place that is read from a string too.
        let lists_prompts = self.api == Api::OpenAiCompletions && name == "prompt" && !is_object;
        let within = match place {
            Place::Body | Place::Extra if lists_prompts => Some(Place::Prompts),
            place => place.within(name, is_object),
        };
        if caps::is_cap(name) && place.holds_caps() {
            self.cap.add(None, true);
        }
        match within {
            Some(place) => {
                if place == Place::Targets {
                    self.targets = Some(String::new());
                }
                self.open.push((place, self.names.len()));
            }
            None => {
                self.prompts += u64::from(place == Place::Prompts);
                self.skipped = 1;
            }
        }
        Ok(())
    }

    fn leave(&mut self) -> Result<(), Fault> {
        let Some((place, from)) = self.open.pop() else { return Ok(()) };
        if place == Place::Body {
            return Ok(());
        }
        self.names.truncate(from);
        if place == Place::Targets
            && let Some(targets) = self.targets.take()
        {
            push(&mut self.effort, &mut self.view.other_models, Cow::Owned(targets))?;
        }
        Ok(())
    }

    fn key(&mut self, name: Cow<'a, str>) -> Result<(), Fault> {
        let Some(&(place, from)) = self.open.last() else { return Ok(()) };
        let siblings = self.names.get(from..).unwrap_or_default();
        if siblings.len() >= MAX_KEYS {
            return Err(Fault::Unfit("an object holds too many keys"));
        }
        self.effort.spend(siblings.len() + KEY_EFFORT)?;
        if siblings.contains(&name) {
            return Err(Fault::Duplicate);
        }
        if let Some(meant) = place.meant(&name) {
            return Err(if siblings.iter().any(|sibling| sibling == meant) { Fault::Duplicate } else { MISSPELT });
        }
        if self.view.banned.is_none() && place.bans(&name) {
            self.view.banned = Some(name.clone());
        }
        self.names.push(name);
        Ok(())
    }

    /// A text of no interest, but for references to secrets.
    fn unread(&mut self, text: &Text<'a>) -> Result<(), Fault> {
        let Some((place, _)) = self.open.last() else { return Ok(()) };
        self.prompts += u64::from(*place == Place::Prompts);
        // Both references fit into the first bytes; an escaped one is decoded first.
        let is_reference = place.may_ban()
            && if text.is_escaped() {
                text.len < 4096 && text.decode().is_ok_and(|value| banned::is_reference(self.current(), &value))
            } else {
                banned::is_reference(self.current(), text.raw)
            };
        self.refuse_reference(is_reference);
        Ok(())
    }

    fn refuse_reference(&mut self, is_reference: bool) {
        if is_reference && self.view.banned.is_none() {
            self.view.banned = self.names.last().cloned();
        }
    }

    fn scalar(&mut self, value: Scalar<'a>) -> Result<(), Fault> {
        let Some(&(place, _)) = self.open.last() else {
            return Err(Fault::Unfit("the body is not an object"));
        };
        let name = self.current();
        if let Scalar::Text(text) = &value {
            let is_reference = place.may_ban() && banned::is_reference(name, text);
            self.refuse_reference(is_reference);
        }
        let name = self.current();
        if place.is_model(name) {
            return self.model(place, value);
        }
        if place.is_helper(name) {
            if let Scalar::Text(model) = value {
                push(&mut self.effort, &mut self.view.helper_models, model)?;
            }
            return Ok(());
        }
        if place.holds_caps() && caps::is_cap(name) {
            let config = if let Place::Config(config) = place { Some(config) } else { None };
            // Not every gateway joins `extra_body` with the body.
            let binds = place != Place::Extra && caps::binds(self.api, config, name);
            match value.count() {
                Count::Absent => {}
                Count::Of(tokens) => self.cap.add(Some(tokens), binds),
                Count::None => self.cap.add(None, binds),
            }
            return Ok(());
        }
        if place.holds_caps() && caps::is_choices(name) {
            if let Count::Of(choices) = value.count() {
                self.view.choices = self.view.choices.max(choices);
            }
            return Ok(());
        }
        match (place, name) {
            (Place::Body | Place::Extra, "user") => keep(&mut self.users[0], value),
            (Place::LiteLlmMetadata, "user") => keep(&mut self.users[1], value),
            (Place::Metadata, "user_id") => keep(&mut self.users[2], value),
            (Place::Body | Place::Extra, "safety_identifier") => keep(&mut self.users[3], value),
            (Place::Body | Place::Extra, "stream") => {
                if let Scalar::Bool(stream) = value {
                    self.view.stream = Some(stream || self.view.stream == Some(true));
                }
            }
            (Place::Body | Place::Extra, "service_tier" | "serviceTier") => {
                keep_text(&mut self.view.service_tier, value);
            }
            (Place::Body, "size") => keep_text(&mut self.view.image_size, value),
            (Place::Body, "quality") => keep_text(&mut self.view.image_quality, value),
            // Not every gateway joins `extra_body` with the body: then neither is known.
            (Place::Extra, "size") => self.view.image_size = Some(Cow::Borrowed("")),
            (Place::Extra, "quality") => self.view.image_quality = Some(Cow::Borrowed("")),
            (Place::Body | Place::Extra, "speed") => {
                self.view.is_fast |= matches!(&value, Scalar::Text(speed) if speed == "fast");
            }
            (Place::Body | Place::Extra, "target_model_names") => {
                if let Scalar::Text(names) = value {
                    push(&mut self.effort, &mut self.view.other_models, names)?;
                }
            }
            (Place::Fallbacks | Place::Fallback, _) if place == Place::Fallbacks || name == "model" => {
                if let Scalar::Text(model) = value {
                    push(&mut self.effort, &mut self.view.fallback_models, model)?;
                }
            }
            (Place::Targets, _) => self.target(value)?,
            (Place::Tags(slot), _) => {
                if let (Scalar::Text(tag), Some(tags)) = (value, self.tags.get_mut(slot)) {
                    push_tag(&mut self.effort, tags, tag)?;
                }
            }
            (_, "tags") => {
                if let (Some(Place::Tags(slot)), Scalar::Text(tag)) = (place.within(name, false), value)
                    && let Some(tags) = self.tags.get_mut(slot)
                {
                    push_tag(&mut self.effort, tags, tag)?;
                }
            }
            _ => {
                // Gateways read these objects from a string too.
                if let Scalar::Text(text) = value {
                    let within = [(b'{', true), (b'[', false)]
                        .into_iter()
                        .find(|(open, _)| text.trim_start().as_bytes().first() == Some(open))
                        .and_then(|(_, is_object)| place.within(name, is_object));
                    if let Some(within) = within {
                        return self.nested(within, &text);
                    }
                }
            }
        }
        Ok(())
    }

    fn model(&mut self, place: Place, value: Scalar<'a>) -> Result<(), Fault> {
        let model = match value {
            Scalar::Text(model) if model.trim().is_empty() => return Ok(()),
            Scalar::Text(model) => model,
            Scalar::Null => return Ok(()),
            _ => return Err(Fault::Unfit("a model is named by something other than a string")),
        };
        if model.len() > MAX_NAME {
            return Err(Fault::Unfit("the name of the model is too long"));
        }
        if place == Place::Body {
            self.view.model = Some(model);
            return Ok(());
        }
        push(&mut self.effort, &mut self.view.other_models, model)
    }

    fn target(&mut self, value: Scalar<'a>) -> Result<(), Fault> {
        let (Scalar::Text(name), Some(targets)) = (value, self.targets.as_mut()) else {
            return Err(Fault::Unfit("a model is named by something other than a string"));
        };
        if targets.len() + name.len() > MAX_NAME * 8 {
            return Err(Fault::Unfit("a list holds too many names"));
        }
        if !targets.is_empty() {
            targets.push(',');
        }
        targets.push_str(&name);
        Ok(())
    }

    /// An object or list that is written in a string. What is no JSON there is only text.
    fn nested(&mut self, place: Place, text: &str) -> Result<(), Fault> {
        let mut inner = Extract::new(self.api, self.max_depth);
        let mut tokens = Tokens::new(text, self.max_depth);
        let first = tokens.next();
        if !matches!(first, Ok(Some(Token::Object | Token::Array))) {
            return Ok(());
        }
        inner.open.push((place, 0));
        inner.effort = std::mem::take(&mut self.effort);
        let is_json = loop {
            match tokens.next() {
                Ok(Some(token)) => inner.see(token)?,
                Ok(None) => break true,
                Err(fault @ Fault::Depth(_)) => return Err(fault),
                Err(_) => break false,
            }
        };
        self.effort = inner.effort;
        if !is_json {
            return Ok(());
        }
        for (mine, theirs) in self.users.iter_mut().zip(inner.users) {
            if mine.is_none() {
                *mine = theirs.map(|user| Cow::Owned(user.into_owned()));
            }
        }
        for (mine, theirs) in self.tags.iter_mut().zip(inner.tags) {
            for tag in theirs {
                push(&mut self.effort, mine, Cow::Owned(tag.into_owned()))?;
            }
        }
        for model in inner.view.fallback_models {
            push(&mut self.effort, &mut self.view.fallback_models, Cow::Owned(model.into_owned()))?;
        }
        for model in inner.view.helper_models {
            push(&mut self.effort, &mut self.view.helper_models, Cow::Owned(model.into_owned()))?;
        }
        for model in inner.view.other_models {
            push(&mut self.effort, &mut self.view.other_models, Cow::Owned(model.into_owned()))?;
        }
        self.cap.join(inner.cap);
        self.prompts += inner.prompts;
        self.view.is_fast |= inner.view.is_fast;
        self.view.choices = self.view.choices.max(inner.view.choices);
        if self.view.banned.is_none() {
            self.view.banned = inner.view.banned.map(|name| Cow::Owned(name.into_owned()));
        }
        Ok(())
    }
}

enum Count {
    Absent,
    Of(u64),
    None,
}

impl Scalar<'_> {
    fn count(&self) -> Count {
        let text = match self {
            Scalar::Text(text) => text,
            Scalar::Number(digits) => *digits,
            Scalar::Bool(_) => return Count::None,
            Scalar::Null => return Count::Absent,
        };
        caps::count(text).map_or(Count::None, Count::Of)
    }
}

/// Keeps the first value that names somebody: text or a number.
fn keep<'a>(slot: &mut Option<Cow<'a, str>>, value: Scalar<'a>) {
    let name = match value {
        Scalar::Text(text) => text,
        Scalar::Number(digits) => Cow::Borrowed(digits),
        Scalar::Bool(_) | Scalar::Null => return,
    };
    if slot.is_none() && !name.trim().is_empty() {
        *slot = Some(name);
    }
}

fn keep_text<'a>(slot: &mut Option<Cow<'a, str>>, value: Scalar<'a>) {
    if let (None, Scalar::Text(text)) = (&slot, value) {
        *slot = Some(text);
    }
}

/// Tags travel in headers, holds and records: each is short.
fn push_tag<'a>(effort: &mut Effort, tags: &mut Vec<Cow<'a, str>>, tag: Cow<'a, str>) -> Result<(), Fault> {
    if tag.len() > MAX_TAG {
        return Err(Fault::Unfit("a tag is longer than 256 bytes"));
    }
    push(effort, tags, tag)
}

/// Adds a name that is not there yet.
fn push<'a>(effort: &mut Effort, names: &mut Vec<Cow<'a, str>>, name: Cow<'a, str>) -> Result<(), Fault> {
    effort.spend(names.len() + 1)?;
    if name.trim().is_empty() || names.contains(&name) {
        return Ok(());
    }
    if names.len() >= MAX_NAMES || name.len() > MAX_NAME * 8 {
        return Err(Fault::Unfit("a list holds too many names"));
    }
    names.push(name);
    Ok(())
}
