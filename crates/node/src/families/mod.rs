//! What a machine can lend, a family a file. Only what is really there is offered.

use std::path::Path;
use std::sync::Arc;

use crate::capability::Capability;
use crate::config::Config;

mod camera;
mod device;
mod exec_policy;
mod ffmpeg;
mod jpeg;
mod location;
mod media;
mod notify;
mod screen;
mod system;

use ffmpeg::Ffmpeg;
use media::Shelf;
use notify::Notifier;

/// What this machine has.
pub(crate) async fn found(
    config: &Config,
    folder: &Path,
) -> std::io::Result<Vec<Arc<dyn Capability>>> {
    let notifier = Notifier::find().map(Arc::new);
    let mut all: Vec<Arc<dyn Capability>> = vec![
        Arc::new(system::System::new(&config.run, folder)),
        Arc::new(device::Device),
    ];
    if let Some(notifier) = &notifier {
        all.push(Arc::clone(notifier) as Arc<dyn Capability>);
    }
    if let Some(place) = config.place {
        all.push(Arc::new(location::Location::fixed(place)));
    }
    if let Some(ffmpeg) = Ffmpeg::find(&config.media.ffmpeg).await {
        let shelf = Arc::new(Shelf::open(&folder.join("media"))?);
        let ffmpeg = Arc::new(ffmpeg);
        let camera = camera::Camera::find(config, &ffmpeg, &shelf, notifier.as_ref());
        let screen = screen::Screen::find(config, &ffmpeg, &shelf, notifier.as_ref());
        if camera.is_some() || screen.is_some() {
            all.push(Arc::new(media::Media::new(&shelf)));
        }
        all.extend(camera.map(|it| Arc::new(it) as Arc<dyn Capability>));
        all.extend(screen.map(|it| Arc::new(it) as Arc<dyn Capability>));
    }
    Ok(all)
}
