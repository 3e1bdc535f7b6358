//! The script of a turn, as Redis is given it. `script/` has a room for each of its subjects, and all of them are one script.
//!
//! A script of Redis makes its functions anew in each call, and Lua looks for every name they take from around them in a
//! list of all such names: for sixty functions that took more time than a decision. So the constants are put in their
//! places, and what all functions share is taken once, by one function around them.

use std::collections::HashMap;
use std::sync::LazyLock;

/// What the functions share, and where a call that comes too late ends.
const SHARED: [&str; 2] = [include_str!("script/constants.lua"), include_str!("script/state.lua")];
/// The functions, each after those it uses, and the turn.
const ROOMS: [&str; 7] = [
    include_str!("script/windows.lua"),
    include_str!("script/counters.lua"),
    include_str!("script/meters.lua"),
    include_str!("script/holds.lua"),
    include_str!("script/expiry.lua"),
    include_str!("script/admissions.lua"),
    include_str!("script/messages.lua"),
];
const TURN: &str = include_str!("script/turn.lua");

/// Its hash is its name, so replicas of two versions run side by side.
pub(super) static SCRIPT: LazyLock<String> = LazyLock::new(|| {
    let (shared, rooms) = (SHARED.concat(), ROOMS.concat());
    put_constants(&format!("{shared}\nlocal function turn()\n{rooms}{TURN}\nend\nreturn turn()\n"))
});

/// A script without comments, with its constants in their places. A constant is declared as in Lua 5.4, once, on a line of
/// its own: `local NAME <const>, OTHER <const> = 1, 'two'`.
fn put_constants(script: &str) -> String {
    let mut constants: HashMap<&str, &str> = HashMap::new();
    let mut put = String::with_capacity(script.len());
    for line in script.lines() {
        let declared = line.strip_prefix("local ").filter(|_| line.contains("<const>"));
        if let Some((names, values)) = declared.and_then(|declared| declared.split_once(" = ")) {
            let names = names.split(',').map(|name| name.trim().trim_end_matches("<const>").trim_end());
            constants.extend(names.zip(values.split(',').map(str::trim)));
            continue;
        }
        let before = put.len();
        for piece in pieces(line) {
            put.push_str(constants.get(piece).copied().unwrap_or(piece));
        }
        put.truncate(put.trim_end().len().max(before));
        if put.len() > before {
            put.push('\n');
        }
    }
    put
}

/// The words of a line, what stands between them, and its texts; without the comment at its end.
fn pieces(line: &str) -> impl Iterator<Item = &str> {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let mut rest = line;
    std::iter::from_fn(move || {
        let first = rest.chars().next().filter(|_| !rest.starts_with("--"))?;
        let length = match first {
            '\'' => rest[1..].find('\'').map_or(rest.len(), |end| end + 2),
            _ if is_word(first) => rest.find(|letter| !is_word(letter)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let (piece, after) = rest.split_at(length);
        rest = after;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_put_in_their_places_and_comments_are_left_out() {
        let script =
            "-- A\nlocal A <const>, KEEP <const> = 5, '70'\n\nlocal a = A + AA -- A\nsay('A', -A)\n  at[KEEP]=x.A\n";
        assert_eq!(put_constants(script), "local a = 5 + AA\nsay('A', -5)\n  at['70']=x.5\n");
    }

    #[test]
    fn nothing_declared_is_left_in_the_script() {
        let declared: Vec<&str> = SHARED[0]
            .split_whitespace()
            .zip(SHARED[0].split_whitespace().skip(1))
            .filter(|(_, next)| next.starts_with("<const>"))
            .map(|(name, _)| name)
            .collect();
        assert!(declared.len() > 30, "{declared:?}");
        let left: Vec<&str> = SCRIPT.lines().flat_map(pieces).filter(|piece| declared.contains(piece)).collect();
        assert!(left.is_empty(), "{left:?}");
        assert!(!SCRIPT.contains("<const>") && !SCRIPT.contains("--"));
    }
}
