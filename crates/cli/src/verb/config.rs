//! `config`: every value in effect, and where it comes from.

use crate::{Context, args::Global, failure::Failure};
use igor_network::Multiaddr;
use igor_node::home::{Config, HOME_VARIABLE, Home};
use igor_protocol::PublicKey;
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
    let home_row = ("home", context.path.display().to_string(), Some(home_from.to_owned()));
    let rows = values(&config).into_iter().map(|(key, value)| (key, value, None));
    for (key, value, known) in std::iter::once(home_row).chain(rows) {
        let row = Row { key, value, from: known.unwrap_or_else(|| from(key)) };
        context.out.say(&row, || format!("{:<32} {:<28} ({})", row.key, row.value, row.from))?;
    }
    Ok(())
}

/// Every value of the configuration, by its key in `node.toml`.
fn values(config: &Config) -> Vec<(&'static str, String)> {
    let Config { price, policy, grants, admission, api, network, metrics, store } = config;
    let keys = |keys: &[PublicKey]| keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let addresses = |list: &[Multiaddr]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let or = |text: String, empty: &str| if text.is_empty() { empty.to_owned() } else { text };
    let owners = policy.owners.as_ref().map(|owners| or(keys(owners), "nobody"));
    let capabilities: Vec<_> = grants.capabilities.iter().map(|capability| capability.name()).collect();
    vec![
        ("price.per_second", price.per_second.clone()),
        ("price.per_fuel", price.per_fuel.clone()),
        ("policy.owners", owners.unwrap_or_else(|| "the owner of this home".to_owned())),
        ("policy.nodes", or(keys(&policy.nodes), "nobody")),
        ("grants.capabilities", or(capabilities.join(" "), "none")),
        ("grants.memory_bytes", grants.memory_bytes.to_string()),
        ("grants.tick_time_ms", grants.tick_time_ms.to_string()),
        ("grants.tick_fuel", grants.tick_fuel.to_string()),
        ("grants.state_bytes", grants.state_bytes.to_string()),
        ("grants.inbox_bytes", grants.inbox_bytes.to_string()),
        ("admission.agents", admission.agents.to_string()),
        ("admission.memory_bytes", admission.memory_bytes.to_string()),
        ("admission.stored_bytes", admission.stored_bytes.to_string()),
        ("admission.stored_bytes_per_agent", admission.stored_bytes_per_agent.to_string()),
        ("admission.compile_slots", admission.compile_slots.to_string()),
        ("api.listen", api.listen.map_or_else(|| "the home's socket only".to_owned(), |at| at.to_string())),
        ("api.tokens", api.tokens.as_ref().map_or_else(|| "none".to_owned(), |path| path.display().to_string())),
        ("api.hosts", api.hosts.join(" ")),
        ("network.listen", or(addresses(&network.listen), "nowhere")),
        (
            "network.announce",
            network
                .announce
                .as_deref()
                .map_or_else(|| "where it listens".to_owned(), |all| or(addresses(all), "nothing")),
        ),
        ("network.peers", or(addresses(&network.peers), "none")),
        ("network.mdns", network.mdns.to_string()),
        ("network.private", network.private.to_string()),
        ("network.allow", or(keys(&network.allow), "nobody in particular")),
        ("network.deny", or(keys(&network.deny), "nobody")),
        (
            "network.transfer_bytes_per_second",
            network.transfer_bytes_per_second.map_or_else(|| "no limit".to_owned(), |pace| pace.to_string()),
        ),
        ("metrics.agents", metrics.agents.to_string()),
        ("store.url", store.url.clone().unwrap_or_else(|| "this disk only".to_owned())),
        (
            "store.endpoint",
            store.endpoint.clone().unwrap_or_else(|| "the environment's, else the provider's".to_owned()),
        ),
        ("store.region", store.region.clone().unwrap_or_else(|| "the environment's, else us-east-1".to_owned())),
        ("store.allow_http", store.allow_http.to_string()),
    ]
}
