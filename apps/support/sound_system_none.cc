// SPDX-License-Identifier: Apache-2.0
// A build without microphones. Read first: sound_system.h.
#include "apps/support/sound_system.h"
#include "deploy/base/check.h"

namespace bisparse::apps {

std::unique_ptr<SoundSystem> MakeSoundSystem() {
  Fail(ErrorKind::kConfiguration, "microphone",
       "this bisparse was built without PortAudio (hint: cmake/install_packages.sh --microphone, "
       "then build with -DBISPARSE_PORTAUDIO=ON; or read a pipe: arecord … | bisparse-listen "
       "MODEL -)");
}

}  // namespace bisparse::apps
