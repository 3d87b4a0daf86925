//! The home directory: made private, read strictly, refused where it is not what it should be.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, which it does not know helpers of tests to be

mod common;

use common::{compiler, temporary};
use igor_node::{
    Error, Node,
    home::{self, Home, Role},
};
use igor_protocol::KeyPair;
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

fn open(home: &Path) -> Result<(), Error> {
    Node::open(home, compiler()).map(drop)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn a_new_home_is_private_and_keeps_its_keys() {
    let parent = temporary();
    let path = parent.path().join("deep/er/home");
    assert!(matches!(Home::existing(&path), Err(home::Error::Absent { .. })));
    open(&path).unwrap();
    let home = Home::existing(&path).unwrap();
    assert_eq!(mode(&path), 0o700);
    let keys = [Role::Owner, Role::Node].map(|role| {
        assert_eq!(mode(&home.keys().path(role)), 0o600);
        home.keys().read(role).unwrap().public()
    });
    assert_ne!(keys[0], keys[1]);
    open(&path).unwrap();
    assert_eq!([Role::Owner, Role::Node].map(|role| home.keys().read(role).unwrap().public()), keys);
    let text = fs::read_to_string(home.keys().path(Role::Owner)).unwrap();
    assert!(text.starts_with("igor-key 1\nrole: owner\npublic: did:key:z6Mk"), "{text}");
}

#[test]
fn what_others_can_change_or_read_is_refused() {
    let home = temporary();
    open(home.path()).unwrap();
    let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    set(home.path(), 0o777);
    let words = open(home.path()).unwrap_err().to_string();
    assert!(words.contains("chmod 700"), "{words}");
    set(home.path(), 0o700);
    let key = home.path().join("keys/node.key");
    for open_mode in [0o640, 0o604, 0o660] {
        set(&key, open_mode);
        let words = open(home.path()).unwrap_err().to_string();
        assert!(words.contains("chmod 600") && words.contains("node.key"), "{words}");
    }
    set(&key, 0o600);
    open(home.path()).unwrap();
}

#[test]
fn a_damaged_key_is_never_replaced() {
    let home = temporary();
    open(home.path()).unwrap();
    for role in ["owner", "node"] {
        let path = home.path().join(format!("keys/{role}.key"));
        let whole = fs::read(&path).unwrap();
        let text = String::from_utf8(whole.clone()).unwrap();
        let other = if role == "owner" { "node" } else { "owner" };
        let other = fs::read(home.path().join(format!("keys/{other}.key"))).unwrap();
        let seed_at = text.find("seed: ").unwrap() + 6;
        let mut flipped = whole.clone();
        flipped[seed_at] = if flipped[seed_at] == b'0' { b'1' } else { b'0' };
        let bad = [
            Vec::new(),
            whole[..whole.len() / 2].to_vec(),
            whole[..seed_at + 10].to_vec(),
            flipped,
            vec![0xff; 200],
            vec![b'a'; 100_000],
            other,
        ];
        for broken in bad {
            fs::write(&path, &broken).unwrap();
            let refused = open(home.path()).unwrap_err();
            assert!(matches!(refused, Error::Home(home::Error::BadKey { .. })), "{refused}");
            assert_eq!(fs::read(&path).unwrap(), broken, "it stays as it was found");
        }
        fs::write(&path, text.replace("igor-key 1", "igor-key 2")).unwrap();
        let refused = open(home.path()).unwrap_err();
        assert!(matches!(&refused, Error::Home(home::Error::KeyVersion { found, .. }) if found == "2"), "{refused}");
        fs::write(&path, &whole).unwrap();
        open(home.path()).unwrap();
    }
}

#[test]
fn what_an_interrupted_key_left_is_not_a_key() {
    let home = temporary();
    fs::create_dir(home.path().join("keys")).unwrap();
    fs::write(home.path().join("keys/new-owner.key"), "igor-key 1\nrole: ow").unwrap();
    open(home.path()).unwrap();
    Home::existing(home.path()).unwrap().keys().read(Role::Owner).unwrap();
    assert!(!home.path().join("keys/new-owner.key").exists());
}

#[test]
fn a_home_of_another_version_and_what_is_no_home() {
    let home = temporary();
    open(home.path()).unwrap();
    fs::write(home.path().join("format"), "igor-home 99\n").unwrap();
    let refused = open(home.path()).unwrap_err();
    assert!(matches!(&refused, Error::Store(igor_store::Error::OtherVersion { found: 99, .. })), "{refused}");
    let file = home.path().join("file");
    fs::write(&file, "").unwrap();
    let refused = open(&file).unwrap_err();
    assert!(matches!(&refused, Error::Home(home::Error::NotADirectory { .. })), "{refused}");
}

#[test]
fn node_toml_is_read_strictly() {
    let home = temporary();
    let path = home.path().join("node.toml");
    for (text, words) in [
        ("[price]\nper_secund = \"1\"\n", "per_secund"),
        ("[price]\nper_second = \"0\"\n", "above zero"),
        ("[price]\nper_second = \"-1\"\n", "price.per_second"),
        ("[price]\nper_second = \"0.0000000001\"\n", "multiple of"),
        ("[price]\nper_second = \"100000000000\"\n", "too large"),
        ("[grants]\nmemory_bytes = -1\n", "memory_bytes"),
        ("[api]\nlisten = \"127.0.0.1:80\"\n", "api.tokens"),
        ("[api]\nlisten = \"somewhere\"\n", "listen"),
        ("price = 1\n", "price"),
        ("[nonsense]\n", "nonsense"),
        ("[policy]\nowner = []\n", "owner"),
        ("[policy]\nowners = [\"did:key:zz\"]\n", "not an Ed25519 did:key"),
        ("[policy]\nnodes = \"everybody\"\n", "nodes"),
        ("[grants]\ncapabilities = [\"files\"]\n", "files"),
        ("[admission]\nagents = -1\n", "agents"),
        ("[admission]\nmemory_bytes = 1.5\n", "memory_bytes"),
        ("[admission]\nstored = 1\n", "stored"),
        ("[admission]\ncompile_slots = 0\n", "compile_slots"),
        ("[network]\ntransfer_bytes_per_second = 1000\n", "transfer_bytes_per_second"),
        ("[metrics]\nagents = -1\n", "agents"),
        ("[price", "line 1"),
    ] {
        fs::write(&path, text).unwrap();
        let refused = open(home.path()).unwrap_err();
        assert!(matches!(refused, Error::Home(home::Error::Config { .. })), "{refused}");
        let said = refused.to_string();
        assert!(said.contains(words) && said.contains("node.toml"), "{text}: {said}");
    }
    fs::write(&path, vec![b'#'; 100_000]).unwrap();
    assert!(open(home.path()).unwrap_err().to_string().contains("longer than"));
    fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(open(home.path()).unwrap_err().to_string().contains("UTF-8"));
    let text = "[price]\nper_second = \"0.5\"\nper_fuel = \"0.000000000000000002\"\n";
    fs::write(&path, text).unwrap();
    let config = Home::existing(home.path()).unwrap().config().unwrap();
    let terms = config.price.terms().unwrap();
    assert_eq!((terms.price_per_ns, terms.price_per_fuel), (500_000_000, 2));
    fs::remove_file(&path).unwrap();
    assert_eq!(Home::existing(home.path()).unwrap().config().unwrap(), home::Config::default());
}

#[tokio::test]
async fn a_home_with_a_long_path_has_its_socket_elsewhere() {
    let parent = temporary();
    let path = parent.path().join("long".repeat(40));
    let node = Node::open(&path, compiler()).unwrap();
    let server = igor_node::api::serve(&node, igor_node::api::Limits::default()).await.unwrap();
    let socket = server.socket().clone();
    let directory = socket.parent().unwrap().to_owned();
    assert!(!socket.starts_with(&path) && socket.as_os_str().len() < 108, "{}", socket.display());
    assert_eq!(mode(&directory), 0o700);
    let client = igor_node::client::Client::new(igor_node::client::Address::Socket(socket.clone()));
    assert_eq!(client.node().await.unwrap().node, node.id());
    server.shut_down().await;
    // A directory that others can enter may hold somebody else's socket.
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    let home = Home::existing(&path).unwrap();
    assert!(matches!(home.check_socket(), Err(home::Error::Exposed { .. })));
    let refused = igor_node::api::serve(&node, igor_node::api::Limits::default()).await.err().unwrap();
    assert!(matches!(refused, Error::Home(home::Error::Exposed { .. })), "{refused}");
    fs::remove_dir(&directory).unwrap();
}

#[test]
fn the_guide_shows_the_defaults() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides/operate.md");
    let guide = fs::read_to_string(guide).unwrap();
    let (_, rest) = guide.split_once("```toml\n").expect("a sample");
    let (sample, _) = rest.split_once("```").expect("its end");
    assert_eq!(home::Config::parse(sample).unwrap(), home::Config::default());
    let key = KeyPair::from_seed(&[1; 32]).public();
    let whole = sample.replace("# owners", "owners").replace("did:key:z6Mk...", &key.to_string());
    let whole = whole.replace("# listen", "listen").replace("# tokens", "tokens").replace("# hosts", "hosts");
    let config = home::Config::parse(&whole).unwrap();
    assert_eq!(config.policy.owners, Some(vec![key]));
    assert!(config.api.listen.is_some() && config.api.tokens.is_some() && config.api.hosts == ["node.example"]);
}

#[test]
fn the_socket_of_a_home_is_known_before_the_home_is() {
    let parent = temporary();
    let link = parent.path().join("link");
    std::os::unix::fs::symlink(parent.path(), &link).unwrap();
    let path = link.join("a/b");
    let before = Home::socket_of(&path).unwrap();
    assert!(!path.exists());
    let home = Home::open_or_create(&path).unwrap();
    assert_eq!((before, Home::socket_of(&path).unwrap()), (home.socket(), home.socket()));
}
