//! Takes the start section out of a module and exports its function under [`START`], so that it runs inside the
//! metered run and an endless one ends like any other.

use crate::{
    abi::START,
    error::{Refusal, Text},
};
use wasm_encoder::{ExportKind, ExportSection, Module, RawSection};
use wasmparser::{ExternalKind, Parser, Payload};

/// The module without its start section, whose function is `start`. Everything but exports and start is copied byte
/// for byte.
pub(crate) fn export_start(program: &[u8], start: u32) -> Result<Vec<u8>, Refusal> {
    let invalid = |error: wasmparser::BinaryReaderError| Refusal::Invalid(Text::new(&error.to_string()));
    let mut module = Module::new();
    for payload in Parser::new(0).parse_all(program) {
        match payload.map_err(invalid)? {
            Payload::StartSection { .. } => {}
            Payload::ExportSection(section) => {
                let mut exports = ExportSection::new();
                for export in section {
                    let export = export.map_err(invalid)?;
                    exports.export(export.name, kind(export.kind), export.index);
                }
                exports.export(START, ExportKind::Func, start);
                module.section(&exports);
            }
            other => {
                if let Some((id, range)) = other.as_section() {
                    let data = program.get(range).ok_or(Refusal::NotWasm)?;
                    module.section(&RawSection { id, data });
                }
            }
        }
    }
    Ok(module.finish())
}

const fn kind(kind: ExternalKind) -> ExportKind {
    match kind {
        ExternalKind::Func | ExternalKind::FuncExact => ExportKind::Func,
        ExternalKind::Table => ExportKind::Table,
        ExternalKind::Memory => ExportKind::Memory,
        ExternalKind::Global => ExportKind::Global,
        ExternalKind::Tag => ExportKind::Tag,
    }
}
