// SPDX-License-Identifier: Apache-2.0
// AlignedBuffer<T>: `size` zeros of type T at a 64-byte boundary (a cache line, an AVX-512
// register), moved, never copied or resized. Its bytes are whole cache lines: a vector store may
// run over the end up to the next boundary. Tested in: aligned_buffer_test.cc.
#ifndef BISPARSE_DEPLOY_BASE_ALIGNED_BUFFER_H_
#define BISPARSE_DEPLOY_BASE_ALIGNED_BUFFER_H_

#include <cstddef>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

namespace bisparse {

inline constexpr size_t kCacheLineBytes = 64;

template <typename T>
class AlignedBuffer {
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

 public:
  AlignedBuffer() = default;
  /// Throws std::bad_alloc where the memory is not there or its size is no size_t.
  explicit AlignedBuffer(size_t size) : size_(size) {
    if (size > (std::numeric_limits<size_t>::max() - kCacheLineBytes) / sizeof(T)) {
      throw std::bad_array_new_length();
    }
    if (size == 0) return;
    const size_t lines_bytes =
        (size * sizeof(T) + kCacheLineBytes - 1) / kCacheLineBytes * kCacheLineBytes;
    void* memory = ::operator new (lines_bytes, std::align_val_t{kCacheLineBytes});
    std::memset(memory, 0, lines_bytes);
    elements_.reset(static_cast<T*>(memory));
  }
  AlignedBuffer(AlignedBuffer&& other) noexcept
      : elements_(std::move(other.elements_)), size_(other.size_) {
    other.size_ = 0;
  }
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    elements_ = std::move(other.elements_);
    size_ = other.size_;
    if (this != &other) other.size_ = 0;
    return *this;
  }

  T* data() { return elements_.get(); }
  const T* data() const { return elements_.get(); }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T& operator[](size_t i) { return elements_.get()[i]; }
  const T& operator[](size_t i) const { return elements_.get()[i]; }
  T* begin() { return data(); }
  T* end() { return data() + size_; }
  const T* begin() const { return data(); }
  const T* end() const { return data() + size_; }
  std::span<T> span() { return {data(), size_}; }
  std::span<const T> span() const { return {data(), size_}; }

 private:
  struct Delete {
    void operator()(T* elements) const {
      ::operator delete (static_cast<void*>(elements), std::align_val_t{kCacheLineBytes});
    }
  };
  std::unique_ptr<T, Delete> elements_;
  size_t size_ = 0;
};

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_BASE_ALIGNED_BUFFER_H_
