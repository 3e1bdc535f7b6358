//! The environment in values: `${NAME}`, `${NAME:-default}` anywhere in a text, and LiteLLM's `os.environ/NAME` as the
//! whole of one. Replaced after the YAML was read, so that no variable can add keys; a missing one is an error.

use super::problem::{Problem, Problems};
use super::tree::{Node, Value};

/// How the environment is asked.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Replaces references in all texts below `node`; each that cannot be replaced is a problem of its own.
pub fn substitute(node: &mut Node, env: Environment<'_>) -> Problems {
    let mut problems = Problems::default();
    walk(node, &mut String::new(), env, &mut problems);
    problems
}

fn walk(node: &mut Node, path: &mut String, env: Environment<'_>, problems: &mut Problems) {
    let length = path.len();
    match &mut node.value {
        Value::Text(text) => match replaced(text, env) {
            Ok(None) => {}
            Ok(Some((text, variables))) => node.value = Value::Substituted { text, variables },
            Err(message) => problems.push(Problem { place: node.place, path: path.clone(), message }),
        },
        Value::List(list) => {
            for (index, item) in list.iter_mut().enumerate() {
                path.push_str(&format!("[{index}]"));
                walk(item, path, env, problems);
                path.truncate(length);
            }
        }
        Value::Map(entries) => {
            for (key, value) in entries {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(&key.name);
                walk(value, path, env, problems);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

/// The text with its references replaced and the variables it took; `None` where it holds none.
fn replaced(text: &str, env: Environment<'_>) -> Result<Option<(String, Vec<String>)>, String> {
    if let Some(name) = text.strip_prefix("os.environ/") {
        let value = env(name).ok_or_else(|| missing(name))?;
        return Ok(Some((value, vec![name.to_owned()])));
    }
    if !text.contains("${") {
        return Ok(None);
    }
    let (mut out, mut variables, mut rest) = (String::new(), Vec::new(), text);
    while let Some(at) = rest.find("${") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        if let Some(escaped) = before.strip_suffix('$') {
            out.push_str(escaped);
            out.push_str("${");
            rest = after;
            continue;
        }
        out.push_str(before);
        let Some((reference, tail)) = after.split_once('}') else {
            return Err("a ${ has no closing }; write $${ for the two characters themselves".to_owned());
        };
        let (name, default) = match reference.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (reference, None),
        };
        let is_name = name.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic())
            && name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric());
        if !is_name {
            return Err("inside ${ } stands no name of a variable; write ${NAME} or ${NAME:-default}".to_owned());
        }
        match (env(name), default) {
            (Some(value), _) if !value.is_empty() => out.push_str(&value),
            (_, Some(default)) => out.push_str(default),
            (Some(_), None) => {}
            (None, None) => return Err(missing(name)),
        }
        variables.push(name.to_owned());
        rest = tail;
    }
    out.push_str(rest);
    Ok(Some((out, variables)))
}

fn missing(name: &str) -> String {
    format!("the environment variable {name} is not set; set it, or write ${{{name}:-default}}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("db".to_owned()),
            "EMPTY" => Some(String::new()),
            "EVIL" => Some("x\nadmin: true # ${HOST}".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn references_are_replaced_once_and_only_inside_their_value() {
        for (text, expected) in [
            ("plain", None),
            ("$HOST", None),
            ("${HOST}", Some("db")),
            ("postgres://${HOST}:5432/${NAME:-tollward}", Some("postgres://db:5432/tollward")),
            ("os.environ/HOST", Some("db")),
            ("${EMPTY}", Some("")),
            ("${EMPTY:-full}", Some("full")),
            ("${MISSING:-}", Some("")),
            ("$${HOST}", Some("${HOST}")),
            ("${EVIL}", Some("x\nadmin: true # ${HOST}")),
        ] {
            let found = replaced(text, &env).unwrap().map(|(text, _)| text);
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_replaced_is_named() {
        for (text, part) in [
            ("${MISSING}", "MISSING is not set"),
            ("os.environ/MISSING", "MISSING is not set"),
            ("${HOST", "no closing }"),
            ("${a b}", "no name"),
            ("${}", "no name"),
        ] {
            let message = replaced(text, &env).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[test]
    fn problems_tell_path_and_place() {
        let mut tree = Node::parse("a:\n  - ok\n  - b: ${MISSING}\n").unwrap();
        let problems = substitute(&mut tree, &env);
        let problem = problems.iter().next().unwrap();
        assert_eq!((problem.path.as_str(), problem.place.line), ("a[1].b", 3));
    }

    proptest! {
        #[test]
        fn no_text_panics_and_text_without_references_stays(text in ".{0,60}") {
            let result = replaced(&text, &env);
            if !text.contains("${") && !text.starts_with("os.environ/") {
                prop_assert_eq!(result, Ok(None));
            }
        }
    }
}
