//! QR codes: drawn with characters, and read from an image.

use std::{fs::File, io::BufReader, path::Path};

use fast_qr::{ECL, QRBuilder};
use png::{Decoder, Limits, Transformations};
use rqrr::PreparedImage;

use crate::error::Failure;

/// Light modules around the code: four, as the standard wants.
const QUIET: usize = 4;

/// Pixels of the largest image that is read, at a byte each.
const MAX_PIXELS: usize = 32 << 20;

/// Draws a QR code, two modules to a character, light on a dark terminal. `None` when the text is too
/// long for one.
pub(crate) fn draw(text: &str) -> Option<String> {
    let code = QRBuilder::new(text).ecl(ECL::M).build().ok()?;
    let side = code.size + 2 * QUIET;
    let is_light = |row: usize, column: usize| {
        let inside = |at: usize| at.checked_sub(QUIET).filter(|at| *at < code.size);
        let module = inside(row).zip(inside(column)).and_then(|(row, column)| {
            let modules = code.data.get(row * code.size + column)?;
            Some(modules.value())
        });
        !module.unwrap_or(false)
    };
    let mut drawn = String::new();
    for row in (0..side).step_by(2) {
        for column in 0..side {
            let below = row + 1 < side && is_light(row + 1, column);
            drawn.push(match (is_light(row, column), below) {
                (true, true) => '\u{2588}',
                (true, false) => '\u{2580}',
                (false, true) => '\u{2584}',
                (false, false) => ' ',
            });
        }
        drawn.push('\n');
    }
    Some(drawn)
}

/// Reads the text of the one QR code in a PNG image.
pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    let (width, height, grey) = pixels(path).ok_or_else(|| Failure::no_image(path))?;
    // Light on dark, as terminals show it, and dark on light, as paper does.
    for flip in [0, 255] {
        let at = |x: usize, y: usize| grey.get(y * width + x).copied().unwrap_or(0) ^ flip;
        let mut image = PreparedImage::prepare_from_greyscale(width, height, at);
        for grid in image.detect_grids() {
            if let Ok((_, text)) = grid.decode() {
                return Ok(text);
            }
        }
    }
    Err(Failure::no_qr_code(path))
}

/// Width, height, and how bright each pixel is.
fn pixels(path: &Path) -> Option<(usize, usize, Vec<u8>)> {
    let file = BufReader::new(File::open(path).ok()?);
    let limits = Limits {
        bytes: 4 * MAX_PIXELS,
    };
    let mut decoder = Decoder::new_with_limits(file, limits);
    decoder.set_transformations(Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().ok()?;
    let size = reader.output_buffer_size()?;
    if size > 4 * MAX_PIXELS {
        return None;
    }
    let mut bytes = vec![0; size];
    let frame = reader.next_frame(&mut bytes).ok()?;
    let (samples, width) = (
        frame.color_type.samples(),
        usize::try_from(frame.width).ok()?,
    );
    let height = usize::try_from(frame.height).ok()?;
    let colours = if samples >= 3 { 3 } else { 1 };
    let grey = |pixel: &[u8]| {
        let sum: usize = pixel
            .iter()
            .take(colours)
            .map(|byte| usize::from(*byte))
            .sum();
        u8::try_from(sum / colours).unwrap_or(u8::MAX)
    };
    let grey: Vec<u8> = bytes
        .chunks_exact(frame.line_size)
        .flat_map(|line| line.chunks_exact(samples).take(width).map(grey))
        .collect();
    (grey.len() == width * height).then_some((width, height, grey))
}
