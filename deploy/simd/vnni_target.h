// SPDX-License-Identifier: Apache-2.0
// Lets Highway's AVX3_DL target use VNNI: its list of features lacks avx512vnni. There is no include guard, since
// highway.h sets the list anew for each target. This is included after the last include of it and before
// HWY_BEFORE_NAMESPACE. avxvnni stays in the list: without it Highway's functions would no longer inline.
// Used by: dot4-inl.h.
#if HWY_TARGET == HWY_AVX3_DL
#undef HWY_TARGET_STR
#define HWY_TARGET_STR                                            \
  HWY_TARGET_STR_AVX3                                             \
  ",vpclmulqdq,avx512vbmi,avx512vbmi2,vaes,avxvnni,avx512bitalg," \
  "avx512vpopcntdq,avx512vnni"
#endif
