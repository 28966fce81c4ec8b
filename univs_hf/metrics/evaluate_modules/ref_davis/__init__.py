# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
