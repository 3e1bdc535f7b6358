//! The configurations that the documents show, taken from their pages and loaded as an operator would.

use super::Config;

/// The blocks of YAML on a page that are for this program, without the indentation of a list they stand in. Those for
/// Envoy begin with its file's name.
pub(crate) fn blocks(page: &str) -> Vec<String> {
    let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).map(dedented);
    blocks.filter(|block| !block.starts_with("# envoy.yaml\n")).collect()
}

fn dedented(block: &str) -> String {
    let first = block.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let indent = first.len() - first.trim_start().len();
    block.lines().flat_map(|line| [line.get(indent..).unwrap_or_default(), "\n"]).collect()
}

/// The configurations on a page, in their order. One that does not load, or only with a warning, fails the test.
pub(crate) fn load(page: &str) -> Vec<Config> {
    blocks(page).iter().map(|block| load_one(block)).collect()
}

/// One configuration, in an environment that has what the documents name.
pub(crate) fn load_one(text: &str) -> Config {
    let env = |name: &str| match name {
        name if name.ends_with("KEY") => Some("sk-of-the-environment-0123456789".to_owned()),
        name if name.ends_with("SECRET") => Some("of-the-environment".to_owned()),
        name if name == "DATABASE_URL" || name.ends_with("DATABASE") => Some("sqlite://tollward.db".to_owned()),
        _ => None,
    };
    let (config, warnings) = Config::parse(text, "page", &env).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(warnings.len(), 0, "{}\n{text}", warnings[0].message);
    config
}
