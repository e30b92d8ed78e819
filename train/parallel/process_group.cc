// SPDX-License-Identifier: Apache-2.0
// Read first: process_group.h. Tested in: parallel_test.cc, tests/data_parallel.
#include "train/parallel/process_group.h"

#include <charconv>
#include <cstring>
#include <vector>

#include "deploy/base/check.h"

#if BISPARSE_GLOO
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#ifdef USE_C10D_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif
#endif

namespace bisparse::train {
namespace {

constexpr const char* kWhere = "data-parallel training";

struct Variable {
  std::string name, value;
};

/// The first of `names` that is set; an empty name if none is.
Variable FirstOf(const std::function<const char*(const char*)>& get,
                 std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (const char* value = get(name); value != nullptr && *value != '\0') return {name, value};
  }
  return {};
}

int Number(const Variable& variable, int least, int most) {
  int number = 0;
  const char* const end = variable.value.data() + variable.value.size();
  const auto [stop, error] = std::from_chars(variable.value.data(), end, number);
  if (error != std::errc() || stop != end || number < least || number > most) {
    Fail(ErrorKind::kConfiguration, kWhere, "{} = '{}' is no whole number in {} … {}",
         variable.name, variable.value, least, most);
  }
  return number;
}

}  // namespace

std::optional<ProcessPlace> PlaceFromEnvironment(
    const std::function<const char*(const char*)>& get) {
  const Variable address = FirstOf(get, {"MASTER_ADDR"}), world = FirstOf(get, {"WORLD_SIZE"});
  if (address.name.empty() && world.name.empty()) return std::nullopt;
  const Variable size = FirstOf(get, {"WORLD_SIZE", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE"});
  const Variable rank = FirstOf(get, {"RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK"});
  if (size.name.empty()) return std::nullopt;  // an address that means something else
  ProcessPlace place;
  place.size = Number(size, 1, 1 << 16);
  if (place.size == 1) return std::nullopt;
  const Variable port = FirstOf(get, {"MASTER_PORT"});
  for (const auto& [what, variable] : {std::pair{"RANK", rank}, std::pair{"MASTER_ADDR", address},
                                       std::pair{"MASTER_PORT", port}}) {
    if (!variable.name.empty()) continue;
    Fail(ErrorKind::kConfiguration, kWhere,
         "{} = {}, but {} is not set (hint: docs/data-parallel.md has the commands)", size.name,
         size.value, what);
  }
  place.rank = Number(rank, 0, place.size - 1);
  place.address = address.value;
  place.port = Number(port, 1, 65535);
  return place;
}

#if BISPARSE_GLOO
struct ProcessGroup::Impl {
  c10::intrusive_ptr<c10d::Store> store;
  c10::intrusive_ptr<c10d::ProcessGroup> group;
};

namespace {

/// Runs body; what c10d and Gloo throw becomes an Error. Their messages carry stack traces.
template <typename Body>
void Joined(const ProcessPlace& place, const char* what, const Body& body) {
  const auto fail = [&](const std::string& reason) {
    Fail(ErrorKind::kData, kWhere,
         "process {} of {} {}: {} (hint: a process ended or does not answer; start all of them "
         "again "
         "with --resume, and see train.worker_timeout_s)",
         place.rank, place.size, what, reason.substr(0, reason.find('\n')));
  };
  try {
    body();
  } catch (const c10::Error& error) {
    fail(error.what_without_backtrace());
  } catch (const std::runtime_error& error) {
    fail(error.what());
  }
}

}  // namespace

ProcessGroup::ProcessGroup(const ProcessPlace& place, std::chrono::seconds timeout,
                           torch::Device device)
    : place_(place), device_(device), impl_(std::make_unique<Impl>()) {
  Joined(place_, "found no company", [&] {
    c10d::TCPStoreOptions options;
    options.port = static_cast<uint16_t>(place.port);
    options.isServer = place.rank == 0;
    options.numWorkers = static_cast<size_t>(place.size);
    options.timeout = timeout;
    impl_->store = c10::make_intrusive<c10d::TCPStore>(place.address, options);
    impl_->store->setTimeout(timeout);
#ifdef USE_C10D_NCCL
    if (device.is_cuda()) {
      auto nccl = c10d::ProcessGroupNCCL::Options::create();
      nccl->timeout = timeout;
      impl_->group =
          c10::make_intrusive<c10d::ProcessGroupNCCL>(impl_->store, place.rank, place.size, nccl);
      return;
    }
#endif
    auto gloo = c10d::ProcessGroupGloo::Options::create(timeout);
    gloo->devices.push_back(place.address == "localhost" || place.address == "127.0.0.1"
                                ? c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1")
                                : c10d::ProcessGroupGloo::createDefaultDevice());
    gloo->threads = 1;
    impl_->group =
        c10::make_intrusive<c10d::ProcessGroupGloo>(impl_->store, place.rank, place.size, gloo);
  });
}

void ProcessGroup::Sum(torch::Tensor& tensor) const {
  Joined(place_, "lost the others", [&] {
    // Gloo sums tensors of the CPU.
    const bool moved = !tensor.is_cpu() && impl_->group->getBackendName() == "gloo";
    std::vector<torch::Tensor> tensors = {(moved ? tensor.cpu() : tensor).contiguous()};
    impl_->group->allreduce(tensors)->wait();
    if (!tensors[0].is_same(tensor)) tensor.copy_(tensors[0]);
  });
}
#else
struct ProcessGroup::Impl {};
ProcessGroup::ProcessGroup(const ProcessPlace& place, std::chrono::seconds, torch::Device device)
    : place_(place), device_(device) {
  Fail(ErrorKind::kConfiguration, kWhere,
       "{} processes, but this program was built without Gloo (hint: cmake/install_packages.sh "
       "installs libgloo-dev; then build again)",
       place.size);
}
void ProcessGroup::Sum(torch::Tensor&) const {}
#endif

ProcessGroup::~ProcessGroup() = default;

void ProcessGroup::Wait() const {
  torch::Tensor one = torch::ones({1}, torch::TensorOptions().device(device_));
  Sum(one);
}

namespace {

/// Source: Ioffe, Szegedy 2015, with sums over all processes.
class JointBatchNormFunction : public torch::autograd::Function<JointBatchNormFunction> {
 public:
  struct Settings {
    torch::Tensor *running_mean_c, *running_var_c;
    double momentum, epsilon;
    const ProcessGroup* group;
  };

  static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& x,
                               const torch::Tensor& weight_c, const Settings& settings) {
    const std::vector<int64_t> others = Others(x);
    const int64_t channels = x.size(1);
    // The channels' sums, and how many values each has.
    torch::Tensor sum =
        torch::cat({x.sum(others), torch::full({1}, x.numel() / channels, x.options())});
    settings.group->Sum(sum);
    const double count = sum[channels].item<double>();
    const torch::Tensor mean_c = sum.narrow(0, 0, channels) / count;
    const torch::Tensor centred = x - Shaped(mean_c, x);
    torch::Tensor squares_c = centred.square().sum(others);
    settings.group->Sum(squares_c);
    const torch::Tensor scale_c = torch::rsqrt(squares_c / count + settings.epsilon);
    settings.running_mean_c->lerp_(mean_c, settings.momentum);
    settings.running_var_c->lerp_(squares_c / (count - 1), settings.momentum);
    const torch::Tensor normal = centred * Shaped(scale_c, x);
    context->save_for_backward({normal, scale_c, weight_c});
    context->saved_data["group"] = reinterpret_cast<int64_t>(settings.group);
    context->saved_data["count"] = count;
    return normal * Shaped(weight_c, x);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grads) {
    const torch::autograd::variable_list saved = context->get_saved_variables();
    const torch::Tensor &normal = saved[0], &scale_c = saved[1], &weight_c = saved[2];
    const auto* group = reinterpret_cast<const ProcessGroup*>(context->saved_data["group"].toInt());
    const double count = context->saved_data["count"].toDouble();
    const std::vector<int64_t> others = Others(normal);
    const int64_t channels = normal.size(1);
    const torch::Tensor by_normal_c = (grads[0] * normal).sum(others);
    torch::Tensor sums = torch::cat({grads[0].sum(others), by_normal_c});
    group->Sum(sums);
    const torch::Tensor mean = Shaped(sums.narrow(0, 0, channels) / count, normal);
    const torch::Tensor slope = Shaped(sums.narrow(0, channels, channels) / count, normal);
    const torch::Tensor dx =
        (grads[0] - mean - normal * slope) * Shaped(scale_c * weight_c, normal);
    return {dx, by_normal_c, torch::Tensor()};
  }

 private:
  static std::vector<int64_t> Others(const torch::Tensor& x) {
    return x.dim() == 4 ? std::vector<int64_t>{0, 2, 3} : std::vector<int64_t>{0};
  }
  static torch::Tensor Shaped(const torch::Tensor& of_channels, const torch::Tensor& x) {
    return x.dim() == 4 ? of_channels.view({1, -1, 1, 1}) : of_channels.view({1, -1});
  }
};

}  // namespace

torch::Tensor JointBatchNorm(const torch::Tensor& x, const torch::Tensor& weight_c,
                             const torch::Tensor& bias_c, torch::Tensor& running_mean_c,
                             torch::Tensor& running_var_c, double momentum, double epsilon,
                             const ProcessGroup& group) {
  const torch::Tensor scale_c = weight_c.defined() ? weight_c : torch::ones_like(running_mean_c);
  const JointBatchNormFunction::Settings settings{&running_mean_c, &running_var_c, momentum,
                                                  epsilon, &group};
  const torch::Tensor y = JointBatchNormFunction::apply(x, scale_c, settings);
  if (!bias_c.defined()) return y;
  return y + (x.dim() == 4 ? bias_c.view({1, -1, 1, 1}) : bias_c.view({1, -1}));
}

}  // namespace bisparse::train
