//! Files beneath the agent's roots. Every path goes through [`Files`], which decides by descriptor.

mod edit;
mod list;
mod patch;
mod read;
mod search;
mod write;

pub(crate) use edit::Edit;
pub(crate) use list::List;
pub(crate) use patch::ApplyPatch;
pub(crate) use read::Read;
pub(crate) use search::Search;
pub(crate) use write::Write;

use adjutant_ports::Files;

use crate::tool::Halt;

/// Longest file that is edited or patched, in bytes; it is held in memory more than once.
const EDITED_BYTES_MAX: u64 = 8 << 20;

/// How many bytes from the start are looked at to tell text from other things.
const SNIFFED_BYTES: usize = 8 << 10;

/// Whether these bytes are something other than text: text has no zero bytes.
pub(crate) fn is_binary(bytes: &[u8]) -> bool {
    bytes.iter().take(SNIFFED_BYTES).any(|byte| *byte == 0)
}

/// The whole of a file as text, for a change that must not lose anything.
fn exact_text(files: &dyn Files, path: &str) -> Result<String, Halt> {
    let content = files.read(path, EDITED_BYTES_MAX)?;
    if content.is_truncated() {
        return Err(Halt::failed(format!(
            "`{path}` is too long to change in place: {} bytes, the most is {EDITED_BYTES_MAX}",
            content.total_bytes
        )));
    }
    String::from_utf8(content.bytes.to_vec()).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Halt::failed(format!(
            "`{path}` is not UTF-8 text (byte {at}), so it cannot be changed as text"
        ))
    })
}
