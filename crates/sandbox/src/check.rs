//! What a module must be before anything is compiled.
//!
//! Invariants kept here:
//! - Nothing of the module runs and no function body is translated; time and memory are linear in its length, which
//!   is bounded first.
//! - Every import that passes is one of [`crate::abi::IMPORTS`], of its type, granted by the manifest.
//! - Bodies are validated later, by the compiler in its own process: a module that is in the cache has passed there.

use crate::{
    abi::{self, Export, Import, Needs},
    engine::FEATURES,
    error::{Refusal, Text},
};
use igor_protocol::{Manifest, limits::PROGRAM_BYTES_MAX};
use std::collections::BTreeMap;
use wasmparser::{
    BinaryReaderError, ExternalKind, FuncType, Parser, Payload, TypeRef, ValType, ValidPayload, Validator,
    types::TypesRef,
};

/// What the rest needs to know about a module that passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checked {
    /// The function of its start section, which is to be rewritten before compiling.
    pub(crate) start: Option<u32>,
    /// It has the exports for checkpoints, all of them.
    pub(crate) can_checkpoint: bool,
}

/// Checks a module against its manifest.
pub(crate) fn check(program: &[u8], manifest: &Manifest) -> Result<Checked, Refusal> {
    if program.len() > PROGRAM_BYTES_MAX {
        return Err(Refusal::TooLarge { bytes: program.len(), max: PROGRAM_BYTES_MAX });
    }
    if !program.starts_with(b"\0asm") {
        return Err(Refusal::NotWasm);
    }
    if program.get(4..8) == Some(&[0x0d, 0, 1, 0]) {
        return Err(Refusal::Component);
    }
    let mut exports = BTreeMap::new();
    let mut start = None;
    let mut functions_imported = 0;
    let mut validator = Validator::new_with_features(FEATURES);
    for payload in Parser::new(0).parse_all(program) {
        let payload = payload.map_err(invalid)?;
        if let Payload::ImportSection(section) = &payload {
            // Before validation, which would refuse some of these in words of its own.
            functions_imported = check_imports_are_functions(section.clone())?;
        }
        if let ValidPayload::End(types) = validator.payload(&payload).map_err(invalid)? {
            let types = types.as_ref();
            check_exports(&exports, types)?;
            check_sizes(types, manifest)?;
            if start.is_some_and(|function| function < functions_imported) {
                return Err(Refusal::StartIsImported);
            }
            let can_checkpoint = check_checkpoint(&exports, types)?;
            return Ok(Checked { start, can_checkpoint });
        }
        match payload {
            Payload::ImportSection(section) => {
                let types = validator.types(0).ok_or(Refusal::NotWasm)?;
                for import in section.into_imports() {
                    check_import(&import.map_err(invalid)?, types, manifest)?;
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export.map_err(invalid)?;
                    exports.insert(export.name, (export.kind, export.index));
                }
            }
            Payload::StartSection { func, .. } => start = Some(func),
            _ => {}
        }
    }
    Err(Refusal::Invalid(Text::new("the module has no end")))
}

#[allow(clippy::needless_pass_by_value)] // for `map_err`
fn invalid(error: BinaryReaderError) -> Refusal {
    Refusal::Invalid(Text::new(&error.to_string()))
}

/// The number of functions imported; an import of anything else is refused.
fn check_imports_are_functions(section: wasmparser::ImportSectionReader<'_>) -> Result<u32, Refusal> {
    let mut count = 0;
    for import in section.into_imports() {
        let import = import.map_err(invalid)?;
        let kind = match import.ty {
            TypeRef::Func(_) | TypeRef::FuncExact(_) => {
                count += 1;
                continue;
            }
            TypeRef::Memory(_) => "memory",
            TypeRef::Table(_) => "table",
            TypeRef::Global(_) => "global",
            TypeRef::Tag(_) => "tag",
        };
        return Err(Refusal::ImportedThing { kind, module: Text::new(import.module), name: Text::new(import.name) });
    }
    Ok(count)
}

fn check_import(import: &wasmparser::Import<'_>, types: TypesRef<'_>, manifest: &Manifest) -> Result<(), Refusal> {
    let Some(known) = known_import(import.module, import.name) else {
        return Err(Refusal::UnknownImport { module: Text::new(import.module), name: Text::new(import.name) });
    };
    let TypeRef::Func(index) = import.ty else {
        return Err(Refusal::Invalid(Text::new("an import of an exact function type")));
    };
    let found = types[types.core_type_at_in_module(index)].unwrap_func();
    if !known.signature.is(found.params(), found.results()) {
        return Err(Refusal::WrongImport {
            module: known.module,
            name: known.name,
            found: describe(found),
            wanted: known.signature.to_string(),
        });
    }
    if !known.needs.granted_by(manifest.capabilities) {
        debug_assert_ne!(known.needs, Needs::Nothing);
        return Err(Refusal::NotGranted { module: known.module, name: known.name, capability: known.needs.key() });
    }
    Ok(())
}

fn known_import(module: &str, name: &str) -> Option<&'static Import> {
    abi::IMPORTS.iter().find(|known| known.module == module && known.name == name)
}

type Exports<'a> = BTreeMap<&'a str, (ExternalKind, u32)>;

fn check_exports(exports: &Exports<'_>, types: TypesRef<'_>) -> Result<(), Refusal> {
    if exports.contains_key(abi::START) {
        return Err(Refusal::ReservedExport(abi::START));
    }
    match exports.get(abi::MEMORY) {
        Some((ExternalKind::Memory, _)) => {}
        Some((kind, _)) => {
            let found = Text::new(&format!("a {kind:?}").to_lowercase());
            return Err(Refusal::WrongExport { name: abi::MEMORY, found, wanted: "a memory".into() });
        }
        None => return Err(Refusal::MissingExport { name: abi::MEMORY, wanted: "a memory".into() }),
    }
    abi::EXPORTS.iter().try_for_each(|wanted| check_export(wanted, exports, types).map(drop))
}

/// Whether it is there; an error if it is there with another type, or required and not there.
fn check_export(wanted: &Export, exports: &Exports<'_>, types: TypesRef<'_>) -> Result<bool, Refusal> {
    let signatures = || wanted.signatures.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
    let found = match exports.get(wanted.name) {
        Some((ExternalKind::Func, index)) => types[types.core_function_at(*index)].unwrap_func(),
        Some((kind, _)) => {
            let found = Text::new(&format!("a {kind:?}").to_lowercase());
            return Err(Refusal::WrongExport { name: wanted.name, found, wanted: signatures() });
        }
        None if wanted.required => return Err(Refusal::MissingExport { name: wanted.name, wanted: signatures() }),
        None => return Ok(false),
    };
    if wanted.signatures.iter().any(|signature| signature.is(found.params(), found.results())) {
        return Ok(true);
    }
    Err(Refusal::WrongExport { name: wanted.name, found: describe(found), wanted: signatures() })
}

/// Whether the module can give and take its state. Half of it is a mistake that would cost the state later.
fn check_checkpoint(exports: &Exports<'_>, types: TypesRef<'_>) -> Result<bool, Refusal> {
    const FUNCTIONS: [&str; 3] = ["agent_checkpoint", "agent_checkpoint_ptr", "agent_resume"];
    let Some(has) = FUNCTIONS.into_iter().find(|name| exports.contains_key(name)) else {
        return Ok(false);
    };
    if let Some(lacks) = FUNCTIONS.into_iter().find(|name| !exports.contains_key(name)) {
        return Err(Refusal::HalfCheckpoint { has, lacks });
    }
    if !exports.contains_key("agent_alloc") && !check_export(&abi::MALLOC, exports, types)? {
        return Err(Refusal::HalfCheckpoint { has, lacks: "agent_alloc" });
    }
    Ok(true)
}

fn check_sizes(types: TypesRef<'_>, manifest: &Manifest) -> Result<(), Refusal> {
    // A page is 64 KiB: custom page sizes are not among the features.
    let bytes = (0..types.memory_count()).map(|index| types.memory_at(index).initial.saturating_mul(64 << 10)).sum();
    let limit = manifest.limits.memory_bytes;
    if bytes > limit {
        return Err(Refusal::MemoryTooLarge { bytes, limit });
    }
    let elements =
        (0..types.table_count()).fold(0, |sum: u64, index| sum.saturating_add(types.table_at(index).initial));
    let limit = manifest.limits.table_elements;
    if elements > u64::from(limit) {
        return Err(Refusal::TablesTooLarge { elements, limit });
    }
    Ok(())
}

/// A function type as [`abi::Signature`] writes it. At most eight types of each list are named.
fn describe(function: &FuncType) -> Text {
    let list = |types: &[ValType]| {
        let mut names: Vec<_> = types.iter().take(8).map(ToString::to_string).collect();
        if types.len() > names.len() {
            names.push("...".into());
        }
        format!("({})", names.join(", "))
    };
    Text::new(&format!("{} -> {}", list(function.params()), list(function.results())))
}

#[cfg(test)]
mod tests;
