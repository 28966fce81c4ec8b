# Copyright 2026 The univs-hf authors. Licensed under the Apache License, Version 2.0.
"""What BURST's evaluator knows of its categories: TAO's ids, 1 to 1230."""

NUM_CATEGORIES = 1230

# The 78 categories that COCO has too, as listed by the evaluator.
# fmt: off
COMMON_CATEGORY_IDS = frozenset((
    4, 13, 34, 35, 36, 41, 45, 58, 60, 78, 79, 81, 91, 95, 99, 118, 126, 133, 139, 154, 174, 185, 211, 221, 229,
    235, 237, 276, 299, 347, 371, 382, 392, 428, 429, 452, 475, 480, 502, 544, 579, 621, 625, 642, 699, 714, 717,
    729, 747, 779, 805, 829, 852, 896, 926, 937, 961, 979, 980, 982, 993, 1001, 1018, 1038, 1057, 1091, 1097, 1099,
    1115, 1117, 1122, 1132, 1135, 1144, 1155, 1162, 1215, 1229,
))

# Categories too like others to be told apart: their annotations are left out.
DISTRACTOR_CATEGORY_IDS = frozenset((
    20, 63, 108, 180, 188, 204, 212, 247, 303, 403, 407, 415, 490, 504, 507, 513, 529, 567, 569, 588, 672, 691, 702,
    708, 711, 720, 736, 737, 798, 813, 815, 827, 831, 851, 877, 883, 912, 971, 976, 1130, 1133, 1134, 1169, 1184, 1220,
))
# fmt: on

# Categories that count as another one.
MERGED_CATEGORY_IDS = {153: 943, 201: 1175, 207: 554, 504: 347, 720: 347, 912: 529, 967: 529}
