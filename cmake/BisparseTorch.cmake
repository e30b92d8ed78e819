# bisparse_use_torch(target): links LibTorch and shares ONE precompiled header of it among all targets (a translation
# unit costs 11 s without, 3 s with it; the header weighs 600 MB, so there is only one).
#
# A precompiled header binds the code model: everything that shares it is compiled with -fPIC, programs too (CMake
# would give them -fPIE, and g++ would silently fall back to parsing all of Torch again).

function(bisparse_use_torch target)
  if(NOT TARGET bisparse_torch_pch)
    file(WRITE ${PROJECT_BINARY_DIR}/torch_pch.cc "// Holds the precompiled header of LibTorch.\n")
    add_library(bisparse_torch_pch OBJECT ${PROJECT_BINARY_DIR}/torch_pch.cc)
    target_link_libraries(bisparse_torch_pch PUBLIC ${TORCH_LIBRARIES})
    bisparse_options(bisparse_torch_pch)
    target_precompile_headers(bisparse_torch_pch PRIVATE <torch/torch.h>)
  endif()
  get_target_property(type ${target} TYPE)
  if(type STREQUAL "EXECUTABLE")
    set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
    target_compile_options(${target} PRIVATE -fPIC)
    target_link_libraries(${target} PRIVATE ${TORCH_LIBRARIES})
  else()
    target_link_libraries(${target} PUBLIC ${TORCH_LIBRARIES})
  endif()
  target_precompile_headers(${target} REUSE_FROM bisparse_torch_pch)
endfunction()
