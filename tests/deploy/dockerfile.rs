//! A Dockerfile as a list of instructions, and which files of a folder a `.dockerignore` lets through.

use super::support::Value;

/// One instruction, continued lines joined, comments left out.
#[derive(Debug)]
pub struct Instruction {
    /// In capitals.
    pub word: String,
    pub rest: String,
}

impl Instruction {
    /// Words that are not `--options`.
    pub fn operands(&self) -> Vec<&str> {
        self.rest.split_whitespace().filter(|word| !word.starts_with("--")).collect()
    }

    pub fn option(&self, name: &str) -> Option<&str> {
        self.rest.split_whitespace().find_map(|word| word.strip_prefix("--")?.strip_prefix(name)?.strip_prefix('='))
    }

    /// The words of the exec form, which needs no shell.
    pub fn exec_form(&self) -> Vec<String> {
        let list: Value = serde_json::from_str(&self.rest).unwrap_or_else(|_| panic!("not in exec form: {self:?}"));
        list.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    }
}

/// A `FROM` and what follows it.
#[derive(Debug)]
pub struct Stage {
    pub base: String,
    pub name: String,
    pub instructions: Vec<Instruction>,
}

impl Stage {
    pub fn all(&self, word: &str) -> impl Iterator<Item = &Instruction> {
        self.instructions.iter().filter(move |instruction| instruction.word == word)
    }

    pub fn last(&self, word: &str) -> &Instruction {
        self.all(word).last().unwrap_or_else(|| panic!("{} has no {word}", self.name))
    }
}

pub fn stages(text: &str) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let joined = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    for line in joined.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let (word, rest) = (word.to_ascii_uppercase(), rest.trim().to_owned());
        if word == "FROM" {
            let [base, r#as, name] = rest.split_whitespace().collect::<Vec<_>>()[..] else { panic!("no name: {line}") };
            assert_eq!(r#as, "AS", "{line}");
            stages.push(Stage { base: base.to_owned(), name: name.to_owned(), instructions: Vec::new() });
        } else {
            let stage = stages.last_mut().unwrap_or_else(|| panic!("before the first FROM: {line}"));
            stage.instructions.push(Instruction { word, rest });
        }
    }
    stages
}

/// Whether a path at the root of the context is sent to the builder: the last line that matches decides.
pub fn is_sent(ignore: &str, path: &str) -> bool {
    let lines = ignore.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.fold(true, |sent, line| match line.strip_prefix('!') {
        Some(kept) if kept == path => true,
        Some(_) => sent,
        None if line == "*" || line == path => false,
        None => sent,
    })
}
