//! The topics as the group coordinator sees them.

use super::{Catalog, Topic};
use std::sync::Arc;
use tifo_coordinator::assignment::{TopicMetadata, TopicsImage};

impl Catalog {
    /// The topics as they are now. Internal ones are among them, as in Kafka.
    pub fn topics_image(&self) -> Arc<TopicsImage> {
        let mut known = self.topics_image.lock();
        let image = self.image.read();
        if known.version() != image.version {
            let metadata =
                |topic: &Arc<Topic>| TopicMetadata::new(topic.name.clone(), topic.id, topic.partition_count());
            *known = Arc::new(TopicsImage::new(image.version, image.by_name.values().map(metadata)));
        }
        known.clone()
    }
}
