//! What counts as a dead link.

use super::*;

fn file(path: &str, text: &str) -> File {
    File { path: path.into(), text: text.into() }
}

#[test]
fn links_lead_to_files_and_headings() {
    let check = |text: &str, expected: &[&str]| {
        let files = [file("docs/a.md", text), file("docs/b/c.md", "# One thing, at once\n")];
        let dead = dead(&files);
        assert_eq!(dead.len(), expected.len(), "{text:?} gave {dead:?}");
        assert!(dead.iter().zip(expected).all(|(found, link)| found.contains(link)), "{text:?} gave {dead:?}");
    };
    check("[up](../Cargo.toml), [out](https://example.org/x), [here](#top)\n## Top", &[]);
    check("[a](b/c.md#one-thing-at-once) and [b](b/c.md#two)", &["`b/c.md#two`"]);
    check("[gone](gone.md) and [above](../../above.md)", &["`gone.md`", "`../../above.md`"]);
    check("```\n[not a link](gone.md)\n```\n[gone](gone.md)", &["docs/a.md:4"]);
}
