//! What the identity headers of one request say. Each is read from one field with one value, bounded and without control
//! characters: a client whose copy a proxy did not remove must not get a word in.

use super::names::{Field, IdentityHeaders};
use crate::domain::{Money, Role, Trace};
use crate::request::Headers;

/// Bytes a value may have; models are many.
const MOST: usize = 512;
const MOST_OF_MODELS: usize = 4 * 1024;

/// What is said; `None` where a header is absent or empty.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Told<'a> {
    pub user_id: Option<&'a str>,
    pub user_email: Option<&'a str>,
    pub team_id: Option<&'a str>,
    pub team_alias: Option<&'a str>,
    pub org_id: Option<&'a str>,
    pub models: Option<Vec<&'a str>>,
    pub max_budget: Option<Money>,
    pub role: Option<Role>,
}

/// Why a header is not read. Names the header, never its value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the identity header {header} {problem}")]
pub(super) struct Fault {
    pub header: String,
    pub problem: Problem,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    #[error("looks like one that the proxy sets")]
    LookAlike,
    #[error("comes more than once")]
    Repeated,
    #[error("holds several values, or a comma")]
    List,
    #[error("is too long")]
    Long,
    #[error("is no plain text")]
    NotText,
    #[error("names no model")]
    NoModel,
    #[error("is no amount of dollars as 12.50")]
    NotMoney,
    #[error("names no role")]
    NoRole,
}

/// Reads them all.
pub(super) fn read<'a>(names: &IdentityHeaders, headers: &Headers<'a>, trace: &mut Trace) -> Result<Told<'a>, Fault> {
    if let Some((name, _)) = headers.0.iter().find(|(name, _)| names.is_look_alike(name)) {
        return Err(Fault { header: (*name).to_owned(), problem: Problem::LookAlike });
    }
    let mut told = Told::default();
    for (field, key, name) in &names.fields {
        let fault = |problem| Fault { header: name.clone(), problem };
        let Some(value) = only(headers, name).map_err(fault)? else { continue };
        let text = plain(value, if *field == Field::Models { MOST_OF_MODELS } else { MOST }).map_err(fault)?;
        if text.is_empty() {
            continue;
        }
        told.take(*field, text).map_err(fault)?;
        trace.step("identity", format_args!("{key} from the header {name}"));
    }
    Ok(told)
}

impl<'a> Told<'a> {
    fn take(&mut self, field: Field, text: &'a str) -> Result<(), Problem> {
        let place = match field {
            Field::Models => {
                self.models = Some(models(text)?);
                return Ok(());
            }
            _ if text.contains(',') => return Err(Problem::List),
            Field::MaxBudget => {
                self.max_budget = Some(Money::from_decimal(text).ok_or(Problem::NotMoney)?);
                return Ok(());
            }
            Field::UserRole => {
                self.role = Some(Role::parse(text).ok_or(Problem::NoRole)?);
                return Ok(());
            }
            Field::UserId => &mut self.user_id,
            Field::UserEmail => &mut self.user_email,
            Field::TeamId => &mut self.team_id,
            Field::TeamAlias => &mut self.team_alias,
            Field::OrgId => &mut self.org_id,
        };
        *place = Some(text);
        Ok(())
    }
}

/// The value of the one field of this name.
fn only<'a>(headers: &Headers<'a>, name: &str) -> Result<Option<&'a [u8]>, Problem> {
    let mut values = headers.all(name);
    let value = values.next();
    if values.next().is_some() { Err(Problem::Repeated) } else { Ok(value) }
}

/// The text without the spaces around it.
fn plain(value: &[u8], most: usize) -> Result<&str, Problem> {
    if value.len() > most {
        return Err(Problem::Long);
    }
    let text = std::str::from_utf8(value).map_err(|_| Problem::NotText)?.trim_matches([' ', '\t']);
    if text.chars().any(char::is_control) { Err(Problem::NotText) } else { Ok(text) }
}

/// Names between commas; a value of commas alone names nothing, which is not the same as saying nothing.
fn models(text: &str) -> Result<Vec<&str>, Problem> {
    let names: Vec<&str> = text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if names.is_empty() { Err(Problem::NoModel) } else { Ok(names) }
}
