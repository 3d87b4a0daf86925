//! `config`: every value in effect, and where it comes from.

use crate::{Context, args::Global, failure::Failure};
use igor_node::home::{Config, HOME_VARIABLE, Home};
use serde::Serialize;

#[derive(Debug, Serialize)]
struct Row<'a> {
    key: &'a str,
    value: String,
    from: String,
}

/// Prints the configuration.
pub(crate) fn config(context: &Context, global: &Global) -> Result<(), Failure> {
    let (file, config) = match Home::existing(&context.path) {
        Ok(home) => (Some(home.config_path()), home.config()?),
        Err(_) => (None, Config::default()),
    };
    let text = file.as_ref().and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    // It parsed before, strictly; here only the presence of keys matters.
    let table: toml::Table = text.parse().unwrap_or_default();
    let from = |key: &str| {
        let set = key.split_once('.').and_then(|(section, name)| table.get(section)?.as_table()?.get(name));
        match (&file, set) {
            (Some(path), Some(_)) => path.display().to_string(),
            _ => "default".to_owned(),
        }
    };
    let home_from = match (&global.home, std::env::var_os(HOME_VARIABLE)) {
        (Some(flag), Some(variable)) if flag.as_os_str() == variable => HOME_VARIABLE,
        (Some(_), _) => "--home",
        (None, _) => "default",
    };
    let grants = &config.grants;
    let rows = [
        ("home", context.path.display().to_string(), Some(home_from.to_owned())),
        ("price.per_second", config.price.per_second.clone(), None),
        ("price.per_fuel", config.price.per_fuel.clone(), None),
        ("grants.memory_bytes", grants.memory_bytes.to_string(), None),
        ("grants.tick_time_ms", grants.tick_time_ms.to_string(), None),
        ("grants.tick_fuel", grants.tick_fuel.to_string(), None),
        ("grants.state_bytes", grants.state_bytes.to_string(), None),
        ("grants.inbox_bytes", grants.inbox_bytes.to_string(), None),
        (
            "api.listen",
            config.api.listen.map_or_else(|| "the home's socket only".to_owned(), |at| at.to_string()),
            None,
        ),
        ("api.tokens", config.api.tokens.as_ref().map_or_else(|| "none".to_owned(), |p| p.display().to_string()), None),
        ("api.hosts", config.api.hosts.join(" "), None),
    ];
    for (key, value, known) in rows {
        let row = Row { key, value, from: known.unwrap_or_else(|| from(key)) };
        context.out.say(&row, || format!("{:<20} {:<28} ({})", row.key, row.value, row.from))?;
    }
    Ok(())
}
