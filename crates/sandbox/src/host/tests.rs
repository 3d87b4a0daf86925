use super::{lines::*, *};
use crate::{abi, engine};
use wasmtime::{ExternType, Store, ValType};

#[test]
fn the_linker_defines_exactly_what_the_table_says() {
    let engine = engine::engine(engine::Stack::Live).expect("an engine");
    let linker = linker(&engine).expect("a linker");
    let mut store = Store::new(&engine, Ctx::new(&Limits::default()));
    let mut defined: Vec<_> =
        linker.iter(&mut store).map(|(module, name, item)| (module.to_owned(), name.to_owned(), item)).collect();
    defined.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    let letters = |types: &mut dyn Iterator<Item = ValType>| -> String {
        types.map(|ty| if matches!(ty, ValType::I32) { 'i' } else { 'I' }).collect()
    };
    let mut found = Vec::new();
    for (module, name, item) in defined {
        let ExternType::Func(ty) = item.ty(&store) else { panic!("{module}.{name} is not a function") };
        found.push((module, name, letters(&mut ty.params()), letters(&mut ty.results())));
    }
    let mut wanted: Vec<_> = abi::IMPORTS
        .iter()
        .map(|import| {
            let signature = import.signature;
            (
                import.module.to_owned(),
                import.name.to_owned(),
                signature.params.to_owned(),
                signature.results.to_owned(),
            )
        })
        .collect();
    wanted.sort();
    assert_eq!(found, wanted);
}

#[test]
fn the_document_lists_every_import() {
    let document = include_str!("../../../../docs/abi.md");
    for import in abi::IMPORTS {
        assert!(document.contains(&format!("`{}`", import.name)), "docs/abi.md does not name {}", import.name);
    }
}

fn lines_of(pieces: &[&[u8]]) -> Vec<String> {
    let mut lines = Lines::default();
    let mut all = Vec::new();
    for piece in pieces {
        let fed: std::result::Result<(), ()> = lines.feed(piece, |line| {
            all.push(line);
            Ok(())
        });
        assert_eq!(fed, Ok(()));
    }
    all.extend(lines.finish());
    assert_eq!(lines.finish(), None);
    all
}

#[test]
fn pieces_become_lines() {
    assert_eq!(lines_of(&[]), [""; 0]);
    assert_eq!(lines_of(&[b"a", b"b\nc", b"\n", b"\nd"]), ["ab", "c", "", "d"]);
    // A character in two pieces is one; what is not UTF-8 is replaced.
    assert_eq!(lines_of(&["\u{e9}".as_bytes().split_at(1).0, &[0xa9], b"\xff!\n"]), ["\u{e9}\u{fffd}!"]);
}

#[test]
fn long_lines_are_cut_at_a_character() {
    let exact = "x".repeat(LINE_BYTES_MAX);
    assert_eq!(lines_of(&[exact.as_bytes()]), [&exact[..]]);
    let wide = "\u{20ac}".repeat(LINE_BYTES_MAX);
    for long in [format!("{exact}y"), format!("{exact}{exact}"), wide] {
        for split in [0, 1, LINE_BYTES_MAX, LINE_BYTES_MAX + 1] {
            let (head, tail) = long.as_bytes().split_at(split);
            let lines = lines_of(&[head, tail, b"\nnext"]);
            assert_eq!(lines.len(), 2);
            assert!(lines[0].len() <= LINE_BYTES_MAX && lines[0].len() > LINE_BYTES_MAX - 10);
            let kept = lines[0].strip_suffix(CUT).expect("a mark");
            assert!(long.starts_with(kept));
            assert_eq!(lines[1], "next");
        }
    }
    // Replacing makes it longer: it is cut all the same.
    assert_eq!(lines_of(&[&[0xff; LINE_BYTES_MAX]])[0].len(), (LINE_BYTES_MAX - CUT.len()) / 3 * 3 + CUT.len());
}

#[test]
fn memory_that_the_machine_does_not_have_ends_the_run() {
    use wasmtime::ResourceLimiter;
    let mut limiter = Limiter::new(&Limits { memory_bytes: 1 << 20, ..Limits::default() });
    assert!(limiter.memory_growing(0, 1 << 20, None).expect("an answer"));
    let error = limiter.memory_grow_failed(wasmtime::Error::msg("no memory")).expect_err("not -1 to the guest");
    assert!(matches!(error.downcast_ref(), Some(Halt::HostMemory(_))));
    // By the limit and by the module's own maximum it is refused; only the first is the limit's.
    assert!(!limiter.memory_growing(0, 1 << 19, Some(1 << 18)).expect("an answer"));
    assert_eq!(limiter.take_refused(), None);
    assert!(!limiter.memory_growing(0, 1 << 21, None).expect("an answer"));
    assert!(limiter.take_refused().is_some_and(|why| why.contains("limits.memory_bytes is 1048576")));
}

#[test]
fn table_elements_are_counted_over_all_tables() {
    use wasmtime::ResourceLimiter;
    let mut limiter = Limiter::new(&Limits { table_elements: 10, ..Limits::default() });
    assert!(limiter.table_growing(0, 6, None).expect("an answer"));
    assert!(limiter.table_growing(0, 3, None).expect("an answer"));
    assert!(!limiter.table_growing(3, 5, None).expect("an answer"));
    assert!(limiter.take_refused().is_some_and(|why| why.contains("limits.table_elements is 10")));
    assert!(limiter.table_growing(3, 4, None).expect("an answer"));
    assert!(!limiter.table_growing(4, 5, Some(4)).expect("an answer"));
}
