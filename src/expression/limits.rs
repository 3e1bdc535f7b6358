//! How large an expression may be, and how much work evaluating it. What can be seen in the text is checked before the
//! parser sees it, since parsers recurse.

use super::CompileError;

/// Bytes of the text.
pub const MAX_TEXT: usize = 4 * 1024;
/// Parts an expression has, each a name, a literal or an operation.
pub const MAX_NODES: usize = 512;
/// Levels of operations within operations.
pub const MAX_DEPTH: usize = 32;
/// Macros within macros.
pub const MAX_MACROS: usize = 2;
/// Turns that all macros of one evaluation take together.
pub const MAX_TURNS: u32 = 10_000;
/// Values that one variable of JSON holds, those within others too.
pub const MAX_VALUES: usize = 4_096;
/// Levels of one variable of JSON.
pub const MAX_JSON_DEPTH: usize = 32;
/// Bytes of text in a map that an expression makes.
pub const MAX_MADE: usize = 64 * 1024;
/// Bytes a compiled pattern takes.
pub const MAX_PATTERN: usize = 256 * 1024;

/// Brackets within brackets.
const MAX_BRACKETS: usize = 24;
/// Operators and other marks outside of text.
const MAX_MARKS: usize = 768;

/// Checks what must hold before a text may be parsed.
pub fn check_text(text: &str) -> Result<(), CompileError> {
    let whole = |message: String| CompileError { line: 0, column: 0, message };
    if text.trim().is_empty() {
        return Err(whole("the expression is empty".to_owned()));
    }
    if text.len() > MAX_TEXT {
        return Err(whole(format!("the expression has {} bytes; it may have {MAX_TEXT}", text.len())));
    }
    let (mut depth, mut marks) = (0_usize, 0_usize);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\'' | '"' => skip_text(character, &mut characters),
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        marks += usize::from(character.is_ascii_punctuation() && character != '_');
        if depth > MAX_BRACKETS {
            return Err(whole(format!("brackets are nested more than {MAX_BRACKETS} deep")));
        }
    }
    if marks > MAX_MARKS {
        return Err(whole(format!("the expression has {marks} operators and other marks; it may have {MAX_MARKS}")));
    }
    Ok(())
}

/// Skips to the end of a text. Where it is cut short or a raw text ends in a backslash, too much is skipped, which the
/// parser's own bound on its depth makes good.
fn skip_text(quote: char, characters: &mut std::str::Chars<'_>) {
    while let Some(character) = characters.next() {
        match character {
            '\\' => drop(characters.next()),
            character if character == quote => return,
            _ => {}
        }
    }
}
