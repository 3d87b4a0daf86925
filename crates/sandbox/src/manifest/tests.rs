use super::*;
use igor_protocol::{Fuel, KeyPair, Nanos};

#[test]
fn the_default_text_is_the_default() {
    assert_eq!(parse(DEFAULT_TEXT), Ok(AgentManifest::default()));
    assert_eq!(parse(""), Ok(AgentManifest::default()));
    // Every field is shown: taking the comment signs away names the agent too.
    let named = parse(&DEFAULT_TEXT.replace("# name", "name").replace("# version", "version")).expect("still valid");
    assert_eq!((named.name.as_deref(), named.version.as_deref()), (Some("my-agent"), Some("0.1.0")));
}

#[test]
fn the_guide_shows_the_defaults() {
    let guide = include_str!("../../../../docs/guides/manifest.md");
    assert!(guide.contains(&format!("```toml\n{DEFAULT_TEXT}```")), "docs/guides/manifest.md shows another text");
}

#[test]
fn every_field_is_read() {
    let text = r#"
        agent = { name = "a", version = "2", description = "d" }
        capabilities = { clock = true, messages = true }
        ceiling = { base = "2ms", picos_per_fuel = 3, per_hostcall = "4us" }
        tick = { interval = "5m", interval_min = "6s" }
        checkpoint = { interval = "1h" }
        survival = { standby = ["KEY 1", "KEY 2"], any_order = true, silent = "2s" }
        [limits]
        memory_bytes = 131072
        table_elements = 7
        tick_fuel = 80000
        tick_time = "9s"
        state_bytes = "10 KiB"
        log_bytes = 11
        observations = 12
        observed_bytes = 1300
        message_bytes = 14
        inbox_messages = 15
        inbox_bytes = "16MiB"
    "#;
    let nodes = [1, 2].map(|n| KeyPair::from_seed(&[n; 32]).public());
    let text = text.replace("KEY 1", &nodes[0].to_string()).replace("KEY 2", &nodes[1].to_string());
    let read = parse(&text).expect("a valid manifest");
    let survival = Standby { nodes: nodes.to_vec(), any_order: true, silent_for: Some(Nanos::from_secs(2)) };
    assert_eq!(read.survival, survival);
    assert_eq!(read.description.as_deref(), Some("d"));
    let manifest = read.manifest;
    let granted = manifest.capabilities;
    assert!(granted.clock && granted.messages);
    assert!(!granted.randomness && !granted.log && !granted.wallet, "what is not named is not granted");
    assert_eq!((manifest.interval, manifest.interval_min), (Nanos::from_secs(300), Nanos::from_secs(6)));
    assert_eq!(manifest.checkpoint_interval, Nanos::from_secs(3600));
    assert_eq!((manifest.ceiling.base, manifest.ceiling.per_hostcall), (Nanos(2_000_000), Nanos(4_000)));
    assert_eq!(manifest.ceiling.picos_per_fuel, 3);
    let limits = manifest.limits;
    assert_eq!((limits.memory_bytes, limits.table_elements, limits.tick_fuel), (131_072, 7, Fuel(80_000)));
    assert_eq!((limits.tick_time, limits.state_bytes, limits.log_bytes), (Nanos::from_secs(9), 10_240, 11));
    assert_eq!((limits.observations, limits.observed_bytes, limits.message_bytes), (12, 1300, 14));
    assert_eq!((limits.inbox_messages, limits.inbox_bytes), (15, 16 << 20));
}

#[test]
fn what_makes_no_sense_is_refused_by_its_name() {
    for (text, wanted) in [
        ("[limits]\nmemory = 1", "`limits.memory`, which does not exist; there are: memory_bytes, table_elements"),
        ("[limit]\nmemory_bytes = 1", "`limit`, which does not exist; there are: agent, capabilities, limits"),
        ("[capabilities]\nhttp = true", "`capabilities.http`"),
        ("[limits]\nmemory_bytes = -1", "limits.memory_bytes is -1; write bytes"),
        ("[limits]\ntable_elements = -1", "limits.table_elements is -1; write a whole number"),
        ("[limits]\ntable_elements = 4294967296", "limits.table_elements is 4294967296"),
        ("[limits]\nlog_bytes = \"4GiB\"", "limits.log_bytes is \"4GiB\""),
        ("[limits]\nmemory_bytes = \"99999999999GiB\"", "limits.memory_bytes is"),
        ("[limits]\nmemory_bytes = \"-1MiB\"", "limits.memory_bytes is"),
        ("[limits]\nmemory_bytes = \"MiB\"", "limits.memory_bytes is"),
        ("[limits]\nmemory_bytes = 1.5", "limits.memory_bytes is 1.5"),
        ("[limits]\nmemory_bytes = 1", "limits.memory_bytes is 1; it must be 64 KiB"),
        ("[limits]\ntick_fuel = 9223372036854775808", "not valid TOML"),
        ("[tick]\ninterval = 10", "tick.interval is 10; write a text such as"),
        ("[tick]\ninterval = \"10\"", "tick.interval is \"10\""),
        ("[tick]\ninterval = \"-1s\"", "tick.interval is \"-1s\""),
        ("[tick]\ninterval = \"+1s\"", "tick.interval is \"+1s\""),
        ("[tick]\ninterval = \"1.5s\"", "tick.interval is \"1.5s\""),
        ("[tick]\ninterval = \"1 day\"", "tick.interval is \"1 day\""),
        ("[tick]\ninterval = \"99999999999999h\"", "tick.interval is"),
        ("[tick]\ninterval_min = \"2s\"", "tick.interval is 1000000000; it must be at least tick.interval_min"),
        ("[checkpoint]\ninterval = true", "checkpoint.interval is true"),
        ("[agent]\nname = 3", "agent.name is 3"),
        ("[agent]\nnick = \"x\"", "`agent.nick`"),
        ("[capabilities]\nclock = \"yes\"", "capabilities.clock is \"yes\"; write true or false"),
        ("limits = 3", "limits is 3; write a section"),
        ("[survival]\nstandby = \"did:key:z6Mk\"", "survival.standby is \"did:key:z6Mk\"; write a list of nodes' keys"),
        (
            "[survival]\nstandby = [\"did:key:z6Mk\"]",
            "survival.standby is \"did:key:z6Mk\"; write a list of nodes' keys",
        ),
        ("[survival]\nstandby = [3]", "survival.standby is 3; write a list"),
        ("[survival]\nstandby = [0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]", "survival.standby is a list of 17; write"),
        ("[survival]\nany_order = 1", "survival.any_order is 1; write true or false"),
        ("[survival]\nsilent = \"599ms\"", "survival.silent is \"599ms\"; write \"600ms\" or longer"),
        ("[survival]\nsilent = 800", "survival.silent is 800; write \"600ms\" or longer"),
        (
            "[survival]\nthreshold = 1",
            "`survival.threshold`, which does not exist; there are: standby, any_order, silent",
        ),
        ("[limits", "not valid TOML"),
        ("a = 1\nb = = 2", "line 2"),
        ("[limits]\n[limits]", "not valid TOML"),
    ] {
        let error = parse(text).expect_err(text).to_string();
        assert!(error.contains(wanted), "{text}\n  gave: {error}\n  not: {wanted}");
        assert!(error.len() < 600, "{error}");
    }
    let key = KeyPair::from_seed(&[1; 32]).public();
    let twice = parse(&format!("[survival]\nstandby = [\"{key}\", \"{key}\"]")).expect_err("named twice").to_string();
    assert!(twice.contains(&format!("survival.standby is \"{key}\"")) && twice.contains("each once"), "{twice}");
    let long = "#".repeat(MANIFEST_BYTES_MAX + 1);
    assert_eq!(parse(&long), Err(Error::TooLong(long.len())));
}

#[test]
fn a_module_may_carry_it() {
    let module = |sections: &[&str]| {
        let custom: Vec<_> = sections.iter().map(|text| format!("(@custom \"{SECTION}\" {text:?})")).collect();
        wat::parse_str(format!("(module {})", custom.concat())).expect("a module")
    };
    assert_eq!(of_module(&module(&[])), Ok(None));
    let read = of_module(&module(&["[tick]\ninterval = \"2s\""])).expect("a manifest").expect("one");
    assert_eq!(read.manifest.interval, Nanos::from_secs(2));
    assert_eq!(of_module(&module(&["", ""])), Err(Error::Several));
    assert!(matches!(of_module(&module(&["[nonsense]"])), Err(Error::Unknown { .. })));
    assert!(matches!(of_module(b"\0asm"), Err(Error::Module(_))));
    assert!(matches!(of_module(b""), Err(Error::Module(_))));
}

#[test]
fn bytes_that_are_not_text_are_refused() {
    let mut module = wasm_encoder::Module::new();
    module.section(&wasm_encoder::CustomSection { name: SECTION.into(), data: (&[0xff, 0xfe][..]).into() });
    assert!(matches!(of_module(&module.finish()), Err(Error::Syntax(_))));
}

#[test]
fn hostile_text_is_shown_short_and_plain() {
    let text = format!("[limits]\n\"\\u001b[31m{}\" = 1", "x".repeat(10_000));
    let error = parse(&text).expect_err("an unknown field").to_string();
    assert!(error.len() < 600 && !error.contains('\u{1b}'), "{error}");
}

#[test]
fn who_goes_on_is_no_part_of_the_hash() {
    let key = KeyPair::from_seed(&[1; 32]).public();
    let named = parse(&format!("[survival]\nstandby = [\"{key}\"]")).expect("a valid manifest");
    assert_eq!(named.survival.nodes, [key]);
    assert_eq!(named.manifest.hash(), Manifest::default().hash());
}
